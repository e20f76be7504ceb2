"""What a runner that was killed left running: found by the job id in its environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

from local_runner import log
from local_runner.processes.local import JOB_VARIABLE, OPEN_PIPE_SECONDS

MAX_KILL_ROUNDS = 10
"""How often it is looked for; all but the first time with SIGKILL."""


def end_processes_of(job_ids: Iterable[str], kill_grace_seconds: float) -> int:
    """End what a runner that was killed left running.

    Args:
        job_ids: The jobs that ran then.
        kill_grace_seconds: From SIGTERM to SIGKILL.

    Returns:
        How many processes were ended; a warning in the log names those that could not be.
    """
    wanted = set(job_ids)
    found: set[psutil.Process] = set()
    grace = kill_grace_seconds
    for attempt in range(MAX_KILL_ROUNDS):
        left = [process for process in psutil.process_iter() if _job_of(process) in wanted]
        if not left:
            return len(found)
        found.update(left)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill() if attempt else process.terminate()
        # What is ended may start another process in its last moment, so it is looked for again.
        psutil.wait_procs(left, timeout=grace)
        grace = OPEN_PIPE_SECONDS
    alive = [process.pid for process in found if _job_of(process) in wanted]
    if alive:
        log.event("warning", message=f"processes of lost jobs cannot be ended: {sorted(alive)}")
    return len(found) - len(alive)


def _job_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(JOB_VARIABLE)
    except (psutil.Error, OSError):
        return None
