"""What is written down of a job: its number, its end."""

from __future__ import annotations

import asyncio
import secrets

from local_runner import log
from local_runner.config import Mode, ScriptConfig
from local_runner.jobs.job import LiveJob, now_ms
from local_runner.jobs.live import LiveJobs
from local_runner.jobs.record import JobRecord, Status, Stream
from local_runner.storage.history import Store, StoreError
from local_runner.storage.retention import Retention
from local_runner.tasks import Tasks

TAG_DIGITS = 6
"""Random digits, one set a runner, at the end of its job ids: two runners of one machine that begin
a job in the same millisecond must not take each other's processes for their own."""

RETRY_SECONDS = 1.0
"""How long to wait before trying again what the system could not do: a full disk, no open files."""


class Recorder:
    """Numbers new jobs, and records how they end; it belongs to one event loop."""

    def __init__(self, store: Store, live: LiveJobs, retention: Retention, tasks: Tasks) -> None:
        """Begin.

        Args:
            store: The history.
            live: The jobs that live.
            retention: Is told of the ends.
            tasks: What is noted later.
        """
        self._store = store
        self._live = live
        self._retention = retention
        self._tasks = tasks
        self._tag = f"{secrets.randbelow(10**TAG_DIGITS):0{TAG_DIGITS}}"

    def new(self, script: ScriptConfig, args: list[str], mode: Mode, kept: str) -> LiveJob:
        """A job that nobody knows of yet.

        Args:
            script: Its script.
            args: Its arguments.
            mode: How its caller waits for it.
            kept: What the history keeps of the script while the job waits.
        """
        seq = self._live.last_seq = self._live.last_seq + 1
        now = now_ms()
        record = JobRecord(
            seq=seq,
            job_id=f"job_{now}_{seq}{self._tag}",
            script_id=script.id,
            args=args,
            mode=mode,
            status=Status.QUEUED,
            created_ms=now,
            script=kept,
        )
        return self.hold(record, script)

    def hold(self, record: JobRecord, script: ScriptConfig) -> LiveJob:
        """The live job of a record."""
        job = LiveJob(record, script)
        job.on_loss = lambda record, stream: self._tasks.spawn(self._note_loss(record, stream))
        return job

    async def record_end(self, job: LiveJob) -> None:
        """Record an end; while that cannot be done the job is served from memory."""
        while not await self.try_to_save(job):
            if self._live.stopping:
                break
            await asyncio.sleep(RETRY_SECONDS)
        # Who waits for the end goes on first.
        await asyncio.sleep(0)
        self.forget(job)

    async def try_to_save(self, job: LiveJob) -> bool:
        """Record a job as it is, and tell who waits for it.

        Returns:
            Whether it could be recorded.
        """
        try:
            await self._store.save(job.record)
        except StoreError as error:
            log.event("error", message=f"{job.record.job_id}: {error}")
            return False
        finally:
            job.settled.set()
        job.recorded.set()
        return True

    def forget(self, job: LiveJob) -> None:
        """Leave a job that has ended to the history."""
        log.job_end(job.record)
        self._live.remove(job)
        self._retention.note_end(job.record)

    async def _note_loss(self, record: JobRecord, stream: Stream) -> None:
        try:
            await self._store.mark_truncated(record.seq, stream)
        except StoreError as error:
            log.event("error", message=f"{record.job_id}: {error}")
