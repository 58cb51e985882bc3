import os
from pathlib import Path

import pytest
from inventory_api.health import volumes
from inventory_api.health.volumes import writable_volumes

MOUNT = "{number} 1 {device} / {path} rw,relatime - ext4 /dev/sda1 rw"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for name in ("data", "tmp", "with space", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "hosts").touch()
    return tmp_path


def mounted(monkeypatch: pytest.MonkeyPatch, places: Path, *mounts: tuple[str, str]) -> list[str]:
    table = places / "mountinfo"
    lines = [MOUNT.format(number=number, device=device, path=path) for number, (device, path) in enumerate(mounts)]
    table.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(volumes, "_MOUNTS", table)
    return [os.path.relpath(volume.path, places) for volume in writable_volumes()]


def test_each_device_is_listed_once_by_a_folder_and_not_by_a_file_that_is_mounted_from_it(
    monkeypatch: pytest.MonkeyPatch, places: Path
) -> None:
    found = mounted(
        monkeypatch,
        places,
        ("8:1", f"{places}/hosts"),
        ("8:1", f"{places}/tmp"),
        ("8:1", f"{places}/data"),
        ("8:2", f"{places}/with\\040space"),
        ("8:3", f"{places}/is-gone"),
    )

    assert found == ["tmp", "with space"]


def test_what_belongs_to_the_kernel_is_no_volume(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    found = mounted(
        monkeypatch, places, ("0:5", "/dev"), ("0:6", "/dev/shm"), ("0:7", "/proc"), ("8:1", f"{places}/tmp")
    )

    assert found == ["tmp"]


def test_there_is_always_the_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    monkeypatch.setattr(volumes, "_MOUNTS", places / "no such file")

    (volume,) = writable_volumes()

    assert 0 <= volume.free_bytes <= volume.total_bytes
