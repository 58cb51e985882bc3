"""Completion knows what the parser knows."""

import subprocess

import pytest
from inventory_operator.commandline.completion import SCRIPTS, complete


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["pro"], {"promote", "rollback", "status"}),
        (["status", "--"], {"--watch", "--namespace", "--output"}),
        (["status", "-o", ""], {"json", "yaml"}),
        (["logs", ""], {"migration"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_words_options_and_choices_are_completed(words: list[str], values: set[str]) -> None:
    assert values <= {value for value, _ in complete(words).candidates}


@pytest.mark.parametrize(
    ("words", "live"),
    [
        (["status", ""], "apps"),
        (["status", "-n", ""], "namespaces"),
        (["rollback", "inventory", "--to", ""], "revisions"),
        (["restore", "--revision", ""], "revisions"),
        (["status", "inventory", ""], ""),
        (["nonsense", ""], ""),
    ],
)
def test_names_and_revisions_come_from_the_cluster(words: list[str], live: str) -> None:
    assert complete(words).live == live


def test_the_cluster_that_is_asked_is_the_one_of_the_options() -> None:
    given = complete(["rollback", "inventory", "-n", "shop", "--context=prod", "--wait", "--to", ""]).given
    assert (given.name, given.namespace, given.context) == ("inventory", "shop", "prod")


def test_a_file_is_completed_by_the_shell() -> None:
    assert complete(["plan", "-f", ""]).files


def test_the_script_for_bash_can_be_read_by_bash() -> None:
    subprocess.run(["bash", "-n"], input=SCRIPTS["bash"], text=True, check=True)
