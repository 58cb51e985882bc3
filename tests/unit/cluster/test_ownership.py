import os
from pathlib import Path

import pytest

from tests.cluster.local import state, system
from tests.cluster.local.console import Problem

BIN = Path("/cache/bin")


def test_the_cluster_of_this_checkout_is_in_nobodys_way() -> None:
    assert state.foreign(state.Owner("/a", "/cache"), Path("/a"), Path("/cache")) == ""


def test_another_checkout_is_told_whose_cluster_it_is_and_what_takes_it_down(tmp_path: Path) -> None:
    sentence = state.foreign(state.Owner(str(tmp_path), "/cache"), Path("/b"), Path("/cache"))
    assert f"belongs to the checkout {tmp_path}" in sentence
    assert f"make -C {tmp_path} down" in sentence


def test_a_cluster_with_its_files_elsewhere_is_taken_down_with_that_setting(tmp_path: Path) -> None:
    sentence = state.foreign(state.Owner(str(tmp_path), "/else/inventory"), tmp_path, Path("/cache/inventory"))
    assert "XDG_CACHE_HOME=/else make down" in sentence


def test_a_cluster_whose_checkout_is_gone_may_be_taken_down_from_here() -> None:
    sentence = state.foreign(state.Owner("/gone/for/good", "/cache"), Path("/b"), Path("/cache"))
    assert "which is gone" in sentence
    assert sentence.endswith("by make down")


def test_a_record_that_a_crash_cut_off_is_no_cluster(tmp_path: Path) -> None:
    where = state.Layout(tmp_path)
    where.run.mkdir()
    where.record.write_text('{"kind": "own", "check')
    assert state.load(where) is None


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    where = state.Layout(tmp_path)
    cluster = state.Cluster("own", "/a", "/k", "/bin", service_network="10.96.0.0/16", ports={"registry": 5000})
    cluster.save(where)
    assert state.load(where) == cluster
    assert cluster.dns == "10.96.0.10"


def test_a_second_change_at_the_same_time_by_another_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = state.Layout(tmp_path)
    monkeypatch.setattr(state, "machine_folder", lambda where: tmp_path)
    with state.lock(where, "up"):
        monkeypatch.setattr(state, "CHECKOUT", Path("/b"))
        with pytest.raises(Problem, match=rf"up, process {os.getpid()}"), state.lock(where, "down"):
            pass


def test_a_process_is_known_by_the_file_that_it_runs() -> None:
    assert system.identify(7, "/cache/bin/etcd", BIN, ["etcd"]) == system.Process(7, "etcd", outdated=False)


@pytest.mark.parametrize(
    "executable", ["/usr/bin/etcd", "/cache/bin/kubectl", "/cache/bin/sub/etcd", "/other/cache/bin/etcd"]
)
def test_a_process_that_runs_another_file_is_never_ours(executable: str) -> None:
    assert system.identify(7, executable, BIN, ["etcd"]) is None


def test_a_process_whose_program_was_built_anew_is_ours_and_outdated() -> None:
    assert system.identify(7, "/cache/bin/etcd (deleted)", BIN, ["etcd"]) == system.Process(7, "etcd", outdated=True)


def test_mounts_come_last_first_with_their_blanks() -> None:
    mountinfo = (
        "1 0 8:1 / /cache/run rw - ext4 x rw\n2 1 8:1 / /cache/run/a\\040b rw - ext4 x rw\n"
        "3 1 8:1 / /cache/runner rw - ext4 x rw\n"
    )
    assert system.mounts_below(Path("/cache/run"), mountinfo) == ["/cache/run/a b", "/cache/run"]


def test_a_machine_without_the_programs_that_make_links_and_tables_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "program", lambda name: None)
    assert system.links() == []
    assert system.tables() == []
