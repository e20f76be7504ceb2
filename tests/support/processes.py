"""The processes of a job, found wherever they went; and the first process of a container."""

from __future__ import annotations

import subprocess

import psutil
import pytest

from local_runner.processes.carriers import JOB_VARIABLE

AS_FIRST_PROCESS = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
"""Put before a command, starts it as the first process of a namespace of its own."""


def _can_be_first() -> bool:
    try:
        return subprocess.run([*AS_FIRST_PROCESS, "true"], check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_namespace = pytest.mark.skipif(
    not _can_be_first(), reason="no namespace of processes can be made here (it takes Linux)"
)


def processes_of(job_id: str) -> list[psutil.Process]:
    """The processes of a job that live, wherever they went."""
    return [process for process in psutil.process_iter() if _job_of(process) == job_id]


def _job_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(JOB_VARIABLE)
    except (psutil.Error, OSError):
        return None
