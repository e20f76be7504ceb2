"""What a runner that was killed left running: found by the job id in its environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

from local_runner import log
from local_runner.processes.carriers import NO_GROUP, find_carriers
from local_runner.processes.ending import KILL_SECONDS

MAX_KILL_ROUNDS = 10
"""How many times they are looked for; all but the first time with SIGKILL."""


def end_processes_of(job_ids: Iterable[str], kill_grace_seconds: float) -> int:
    """End what a runner that was killed left running.

    Args:
        job_ids: The jobs that ran then.
        kill_grace_seconds: From SIGTERM to SIGKILL.

    Returns:
        How many processes were ended; a warning in the log names those that could not be.
    """
    groups = dict.fromkeys(job_ids, NO_GROUP)
    found: set[psutil.Process] = set()
    grace = kill_grace_seconds
    for attempt in range(MAX_KILL_ROUNDS):
        left = _carriers(groups)
        if not left:
            return len(found)
        found.update(left)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill() if attempt else process.terminate()
        # What is ended may start another process in its last moment, so it is looked for again.
        psutil.wait_procs(left, timeout=grace)
        grace = KILL_SECONDS
    alive = _carriers(groups)
    if alive:
        pids = sorted(process.pid for process in alive)
        log.event("warning", message=f"processes of lost jobs cannot be ended: {pids}")
    return len(found) - len(alive)


def _carriers(groups: dict[str, int]) -> list[psutil.Process]:
    return [process for processes in find_carriers(groups).values() for process in processes]
