"""The processes of a job, found wherever they went."""

from __future__ import annotations

import psutil

from local_runner.processes.carriers import JOB_VARIABLE


def processes_of(job_id: str) -> list[psutil.Process]:
    """The processes of a job that live, wherever they went."""
    return [process for process in psutil.process_iter() if _job_of(process) == job_id]


def _job_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(JOB_VARIABLE)
    except (psutil.Error, OSError):
        return None
