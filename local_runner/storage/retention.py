"""The bound on the history: the jobs that ended longest ago go first, with their logs."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from collections.abc import Iterable

from local_runner import log
from local_runner.config import RunnerConfig
from local_runner.jobs.record import STREAMS, JobRecord, log_name
from local_runner.storage.disk import Disk
from local_runner.storage.history import Store, StoreError

KEPT_SECONDS = 10.0
"""How long a job is kept after its end, whatever `maxJobs` says: who waits for it asks every 5 s at
least, and reads its logs then."""

MOST_RECENT = 1000
"""The most jobs that are kept for that."""

TRIM_SECONDS = 1.0
"""How often old jobs are forgotten at most: many in one go cost less than one by one."""

FORGOTTEN_AT_ONCE = 500
"""The most jobs that are forgotten in one go, when `maxJobs` was lowered."""


class Retention:
    """Keeps the history and the logs to `maxJobs` jobs; it belongs to one event loop."""

    def __init__(
        self, store: Store, limits: RunnerConfig, disk: Disk, kept_seconds: float = KEPT_SECONDS
    ) -> None:
        """Begin with what is in the history.

        Args:
            store: The history.
            limits: How much of it is kept, and where the logs are.
            disk: What deletes the logs.
            kept_seconds: How long a job is kept after its end in any case.
        """
        self._store = store
        self._disk = disk
        self._logs_dir = limits.logs_dir
        self._max_jobs = limits.max_jobs
        self._kept_seconds = kept_seconds
        self._kept = store.count
        self._recent: deque[tuple[float, int]] = deque(maxlen=MOST_RECENT)
        """When the latest jobs ended, and the numbers of their ends."""
        self._timer: asyncio.TimerHandle | None = None
        self._trimming = asyncio.Lock()

    def note_new(self) -> None:
        """Count a job that was added to the history."""
        self._kept += 1

    def note_end(self, record: JobRecord) -> None:
        """Note the end of a job; old ones are forgotten soon if there are too many."""
        if record.end_seq is not None:
            self._recent.append((time.monotonic(), record.end_seq))
        self._trim_later(TRIM_SECONDS)

    async def close(self) -> None:
        """Forget what may go when nobody reads any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._recent.clear()
        await self.trim()

    async def trim(self) -> None:
        """Forget the jobs that ended longest ago while there are too many."""
        # One at a time: two that begin together would find the same jobs.
        async with self._trimming:
            while (surplus := self._kept - self._max_jobs) > 0:
                if not await self._forget(min(surplus, FORGOTTEN_AT_ONCE)):
                    break
        if self._recent:
            self._trim_later(self._recent[0][0] + self._kept_seconds - time.monotonic())

    def _trim_later(self, seconds: float) -> None:
        if self._timer is None and self._kept > self._max_jobs:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(seconds, TRIM_SECONDS), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.ensure_future(self.trim())

    async def _forget(self, count: int) -> bool:
        """Forget some of them; False if there is none that may go, or it cannot be done."""
        while self._recent and self._recent[0][0] <= time.monotonic() - self._kept_seconds:
            self._recent.popleft()
        try:
            first_recent = self._recent[0][1] if self._recent else None
            oldest = await self._store.oldest_ended(count, first_recent)
            # The files go first: a crash in between leaves a job without a log, not a log for ever.
            await self._disk.run(lambda: self._delete_logs(oldest.values()))
            await self._store.delete(oldest)
        except StoreError as error:
            log.event("error", message=f"old jobs cannot be deleted: {error}")
            return False
        self._kept -= len(oldest)
        return bool(oldest)

    def _delete_logs(self, job_ids: Iterable[str]) -> None:
        for job_id, stream in itertools.product(job_ids, STREAMS):
            try:
                # Not by a Path: each would take the event loop more time than the file the disk.
                os.unlink(f"{self._logs_dir}/{log_name(job_id, stream)}")  # noqa: PTH108
            except FileNotFoundError:
                pass  # an empty log has none
            except OSError as error:
                log.event("error", message=f"an old log stays: {error}")
