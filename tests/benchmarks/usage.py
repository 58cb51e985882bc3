"""What a process has used, as the kernel counts it."""

import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_seconds_of_all(pid: int) -> float:
    """Of a process and its children, those that are gone too."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    gone = (int(fields[13]) + int(fields[14])) / _TICKS
    return cpu_seconds(pid) + gone + sum(cpu_seconds(int(child)) for child in children)


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """What is resident now, or (VmHWM) what was at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, what
    return int(found[1]) / 1024
