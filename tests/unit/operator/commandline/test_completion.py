"""Completion knows what the parser knows."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inventory_operator.commandline.completion import SCRIPTS, complete

PROMPT = "ready> "
TAB = "\t"
SECONDS = 30


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


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the programs, of which the one that is completed prints its words, each within < and >."""
    program(tmp_path / "kubectl_complete-inventory", "import inventory_operator.commandline.completion as c; c.main()")
    program(tmp_path / "kubectl-inventory", "import sys; print(*(f'<{word}>' for word in sys.argv[1:]))")
    (tmp_path / "application.yaml").touch()
    return tmp_path


def program(path: Path, python: str) -> None:
    path.write_text(f"#!{sys.executable}\n{python}\n")
    path.chmod(0o755)


LINES = [
    ("rollb\t", "<rollback>"),
    ("rollback --uncheck\t", "<rollback> <--unchecked>"),
    ("status -o y\t", "<status> <-o> <yaml>"),
    ("logs \t", "<logs> <migration>"),
    ("plan -f applic\t", "<plan> <-f> <application.yaml>"),
]


@pytest.mark.parametrize(("line", "words"), LINES)
@pytest.mark.parametrize(
    ("shell", "file", "before"),
    [
        pytest.param(("bash", "--rcfile", ".bashrc", "-i"), ".bashrc", "", id="bash"),
        pytest.param(("zsh", "-i"), ".zshrc", "autoload -U compinit && compinit -u -D\n", id="zsh"),
    ],
)
def test_a_key_completes_in_the_real_shell(
    place: Path, shell: tuple[str, ...], file: str, before: str, line: str, words: str
) -> None:
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    (place / file).write_text(f"{before}{SCRIPTS[shell[0]]}PS1='{PROMPT}'\n")
    assert words in printed(shell, place, f"kubectl-inventory {line}\n", words)


@pytest.mark.parametrize(("line", "words"), LINES)
def test_fish_completes(place: Path, line: str, words: str) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    ask = f"{SCRIPTS['fish']}\ncomplete --do-complete 'kubectl-inventory {line.removesuffix(TAB)}'"
    done = subprocess.run(
        ["fish", "--no-config", "--command", ask],
        cwd=place, env=environment(place), capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    assert [f"<{found.partition(TAB)[0]}>" for found in done.stdout.splitlines()] == words.split()[-1:]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_completes_its_plugin(place: Path) -> None:
    done = subprocess.run(
        ["kubectl", "__complete", "inventory", "rollb"],
        env=environment(place), capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[0].partition(TAB)[0] == "rollback"


def environment(place: Path) -> dict[str, str]:
    return os.environ | {
        "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(place),
        "ZDOTDIR": str(place),
        "TERM": "xterm",
    }


def printed(shell: tuple[str, ...], place: Path, keys: str, end: str) -> str:
    """What a shell prints on a terminal at which this is typed, until the end or the time limit."""
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        shell, stdin=inside, stdout=inside, stderr=inside, cwd=place, env=environment(place), start_new_session=True
    )
    os.close(inside)
    try:
        before = read_until(terminal, PROMPT)
        os.write(terminal, keys.encode())
        return before + read_until(terminal, end)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def read_until(terminal: int, end: str) -> str:
    found, deadline = b"", time.monotonic() + SECONDS
    while end.encode() not in found and (left := deadline - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            found += os.read(terminal, 4096)
    return found.decode(errors="replace")
