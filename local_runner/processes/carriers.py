"""Which processes belong to a job: those of its group, and whatever carries its id, wherever it is.

`timeout 60 sh -c …`, `set -m` and `setsid` leave the group; the environment goes with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Mapping

import psutil

from local_runner.storage.disk import Disk

JOB_VARIABLE = "SCRIPT_RUNNER_JOB_ID"
"""Tells a script which job it is; by it all that it started is found, also by a later runner."""

_Found = asyncio.Future[list[psutil.Process]]

NO_GROUP = 0
"""In the place of a process group that is not known."""


def find_carriers(groups: Mapping[str, int]) -> dict[str, list[psutil.Process]]:
    """Find the live processes of some jobs. It takes milliseconds and belongs into a thread.

    This process and those that it descends from are left out: a runner may have been started by a
    job, of its own history even.

    Args:
        groups: The process group of each job by its id, or `NO_GROUP`.

    Returns:
        The processes of each job.

    Raises:
        OSError: If it cannot be told, because no file is free to look with.
    """
    by_group = {group: job_id for job_id, group in groups.items() if group != NO_GROUP}
    found: dict[str, list[psutil.Process]] = {job_id: [] for job_id in groups}
    spared = _this_and_its_ancestors()
    for process in psutil.process_iter():
        # It may end at any moment, and that of another user does not show its environment.
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            job_id = by_group.get(os.getpgid(process.pid)) or _job_of(process)
            if job_id not in found or process.pid in spared:
                continue
            # Nothing can end a zombie, and it does nothing.
            if process.status() != psutil.STATUS_ZOMBIE:
                found[job_id].append(process)
    return found


def _job_of(process: psutil.Process) -> str | None:
    return process.environ().get(JOB_VARIABLE)


@functools.cache
def _this_and_its_ancestors() -> frozenset[int]:
    this = psutil.Process()
    return frozenset({this.pid, *(parent.pid for parent in this.parents())})


class Carriers:
    """Looks for the processes of jobs; who asks meanwhile shares the next look at all processes."""

    def __init__(self) -> None:
        """Start the thread that looks: a disk that hangs must not keep a script from its end."""
        self._thread = Disk(threads=1)
        self._asked: dict[str, tuple[int, _Found]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def of(self, job_id: str, group: int) -> list[psutil.Process]:
        """The live processes of a job; see `find_carriers`."""
        found: _Found = asyncio.get_running_loop().create_future()
        self._asked[job_id] = group, found
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await found

    async def _look(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            groups = {job_id: group for job_id, (group, _) in asked.items()}
            try:
                processes = await self._thread.run(functools.partial(find_carriers, groups))
            except Exception as error:
                for _, found in asked.values():
                    found.set_exception(error)
            else:
                for job_id, (_, found) in asked.items():
                    found.set_result(processes[job_id])
        self._looking = None
