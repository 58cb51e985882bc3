"""The volumes that this process can write to, and how full they are."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from inventory_api.health.schemas import Volume

_MOUNTS = Path("/proc/self/mountinfo")
# Below these is what the kernel and the machine keep, whose size says nothing of the service.
_NOT_VOLUMES = frozenset({"dev", "proc", "run", "sys"})
_ESCAPED = re.compile(r"\\([0-7]{3})")
_LISTED = 10


def writable_volumes() -> list[Volume]:
    """May take as long as a file system takes to answer, which is for ever if its server is gone."""
    volumes: dict[str, Volume] = {}
    for device, path in _mounts():
        # What else is mounted of a device is as full as it is.
        if device not in volumes and os.path.isdir(path) and os.access(path, os.W_OK):
            usage = shutil.disk_usage(path)
            volumes[device] = Volume(path=path, total_bytes=usage.total, free_bytes=usage.free)
    return list(volumes.values())[:_LISTED]


def _mounts() -> Iterable[tuple[str, str]]:
    """Device and folder of each, see proc_pid_mountinfo(5); outside Linux the folder for temporary files alone."""
    if not _MOUNTS.exists():
        yield "", tempfile.gettempdir()
        return
    for line in _MOUNTS.read_text().splitlines():
        _, _, device, _, path, *_ = line.split()
        if path.split("/")[1] not in _NOT_VOLUMES:
            yield device, _ESCAPED.sub(lambda match: chr(int(match[1], 8)), path)
