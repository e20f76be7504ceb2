"""Resident memory of a process, in bytes."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil

KIB = 1024


def now(pid: int | None = None) -> int:
    """What is resident now, of this process by default."""
    return int(psutil.Process(pid).memory_info().rss)


def own_peak() -> int:
    """The most that was resident at once of this process.

    On Linux not `ru_maxrss`: a new process takes that over from the one that started it.
    """
    if sys.platform == "linux":
        return peak_of("self")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_of(pid: int | str) -> int:
    """The most that was resident at once of a process, on Linux; elsewhere what is resident now."""
    if sys.platform != "linux":
        return now(None if pid == "self" else int(pid))
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    raise RuntimeError(f"the system does not say what process {pid} needed")
