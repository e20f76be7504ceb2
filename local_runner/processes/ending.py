"""All that a job started is ended: SIGTERM, a grace, SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable

import psutil

from local_runner import log
from local_runner.processes.carriers import Carriers

LOOK_SECONDS = 0.05
"""How often the rest is looked for, once the script itself has ended."""

LOOK_SHARE = 5
"""The pause after a look, in times of how long it took: it costs little of a core however many
processes there are."""

KILL_SECONDS = 1.0
"""How long what was killed may take to be gone."""


class Ending:
    """The end of one job's processes; it goes on by itself once it is begun."""

    def __init__(self, job_id: str, group: int, carriers: Carriers, exited: asyncio.Event) -> None:
        """Prepare.

        Args:
            job_id: The job.
            group: Its process group, that of its script.
            carriers: What finds the others.
            exited: Set when the script itself has ended.
        """
        self._job_id = job_id
        self._group = group
        self._carriers = carriers
        self._exited = exited
        self._loop = asyncio.get_running_loop()
        self._hurried = asyncio.Event()
        self._look_seconds = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it was begun."""
        return self._task is not None

    def begin(self, grace_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL when the grace is over."""
        self._deadline = self._loop.time() + grace_seconds
        self._task = asyncio.create_task(self._end())

    def hurry(self) -> None:
        """Send SIGKILL now, and to what has left the group after the next look."""
        if self._task is None or not self._task.done():
            self._signal_group(signal.SIGKILL)
            self._hurried.set()

    async def done(self) -> None:
        """Wait until nothing is left, or what is left cannot be ended; not at all if not begun."""
        if self._task is not None:
            await self._task

    async def _end(self) -> None:
        # Looked for before: what a script starts to tidy up when it is told has the grace.
        others = [process for process in await self._left() or [] if not self._is_in_group(process)]
        self._signal_group(signal.SIGTERM)
        self._signal(others, signal.SIGTERM)
        if await self._is_over(self._deadline):
            return
        give_up = self._loop.time() + KILL_SECONDS
        while True:
            self._hurried.clear()
            self._signal_group(signal.SIGKILL)
            left = await self._left() or []
            refused = self._signal(left, signal.SIGKILL)
            if await self._is_over(self._loop.time() + LOOK_SECONDS):
                return
            if self._loop.time() >= give_up:
                self._complain(left, refused)
                return

    async def _is_over(self, deadline: float) -> bool:
        """Wait until nothing is left, at most until a time or until there is a hurry."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._exited.wait()
        while not (self._exited.is_set() and await self._left() == []):
            left = deadline - self._loop.time()
            if left <= 0 or self._hurried.is_set():
                return False
            pause = max(LOOK_SECONDS, LOOK_SHARE * self._look_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, pause)):
                    await self._hurried.wait()
        return True

    async def _left(self) -> list[psutil.Process] | None:
        """The processes that are left; None if it cannot be told which."""
        begun = self._loop.time()
        try:
            return await self._carriers.of(self._job_id, self._group)
        except OSError:
            # No file is free to look with. The group can be asked without one.
            return None if self._signal_group(0) else []
        finally:
            self._look_seconds = self._loop.time() - begun

    def _is_in_group(self, process: psutil.Process) -> bool:
        try:
            return os.getpgid(process.pid) == self._group
        except ProcessLookupError:
            return True

    def _signal_group(self, number: int) -> bool:
        """Signal the group; False if it has no process any more."""
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Nothing but processes of another user is left (macOS also says so of zombies).
            pass
        return True

    def _signal(self, processes: Iterable[psutil.Process], number: int) -> list[int]:
        """Signal some processes; returns the ids of those that may not be."""
        refused = []
        for process in processes:
            try:
                process.send_signal(number)
            except psutil.AccessDenied:
                refused.append(process.pid)
            except psutil.NoSuchProcess:
                pass
        return refused

    def _complain(self, left: Iterable[psutil.Process], refused: Iterable[int]) -> None:
        pids = sorted(process.pid for process in left)
        if any(refused):
            what = f"processes {pids} belong to another user and cannot be ended from here"
        else:
            what = f"processes {pids} cannot be ended"
        log.event("warning", message=f"{self._job_id}: {what}")
