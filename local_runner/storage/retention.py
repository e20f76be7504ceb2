"""The bound on the history: the jobs that ended longest ago go first, with their logs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from pathlib import Path

from local_runner import log
from local_runner.config import RunnerConfig
from local_runner.jobs.record import STREAMS, log_name
from local_runner.storage.history import Store, StoreError

FORGOTTEN_AT_ONCE = 500
"""The most jobs that are forgotten at once, when `maxJobs` was lowered."""

MOST_SPARE = 50
"""The most jobs that are forgotten beyond what must be, so that it need not be done for each."""

SPARE_SHARE = 200
"""At most one in so many of the jobs kept is forgotten so."""


class Retention:
    """Keeps the history and the logs to `maxJobs` jobs; it belongs to one event loop."""

    def __init__(self, store: Store, limits: RunnerConfig) -> None:
        """Begin with what is in the history."""
        self._store = store
        self._logs_dir = Path(limits.logs_dir)
        self._max_jobs = limits.max_jobs
        self._spare = min(MOST_SPARE, limits.max_jobs // SPARE_SHARE)
        self._kept = store.count
        self._forgetting = asyncio.Lock()

    def count_new(self) -> None:
        """Count a job that was added to the history."""
        self._kept += 1

    @property
    def is_full(self) -> bool:
        """Whether there are too many jobs, and nobody sees to it yet."""
        return self._kept > self._max_jobs and not self._forgetting.locked()

    async def trim(self) -> None:
        """Forget the jobs that ended longest ago while there are too many."""
        # One at a time: two that begin together would find the same jobs.
        async with self._forgetting:
            while (surplus := self._kept - self._max_jobs) > 0:
                if not await self._forget(min(surplus + self._spare, FORGOTTEN_AT_ONCE)):
                    return

    async def _forget(self, count: int) -> bool:
        """Forget some of them; False when there is none, or it cannot be done."""
        try:
            oldest = await self._store.oldest_ended(count)
            # The files go first: a crash in between leaves a job without a log, not a log for ever.
            await asyncio.to_thread(self._delete_logs, oldest.values())
            await self._store.delete(oldest)
        # The system may have no thread to give, either.
        except (StoreError, RuntimeError) as error:
            log.event("error", message=f"old jobs cannot be deleted: {error}")
            return False
        self._kept -= len(oldest)
        return bool(oldest)

    def _delete_logs(self, job_ids: Iterable[str]) -> None:
        for job_id, stream in itertools.product(job_ids, STREAMS):
            try:
                (self._logs_dir / log_name(job_id, stream)).unlink(missing_ok=True)
            except OSError as error:
                log.event("error", message=f"an old log stays: {error}")
