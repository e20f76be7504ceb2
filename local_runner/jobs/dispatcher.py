"""Which job starts when, on this machine or on another, and its way to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from local_runner import log
from local_runner.config import RunnerConfig
from local_runner.jobs.job import LiveJob, now_ms
from local_runner.jobs.live import LiveJobs
from local_runner.jobs.record import Status, Stream
from local_runner.jobs.recorder import RETRY_SECONDS, Recorder
from local_runner.processes.launcher import Detached, Launcher, Workers
from local_runner.processes.local import LocalLauncher
from local_runner.processes.shortage import OutOfResources
from local_runner.storage.history import Store, StoreError
from local_runner.tasks import Tasks


class Dispatcher:
    """Starts jobs: at most as many at once as there are slots, the others in the order they came.

    It belongs to one event loop.
    """

    def __init__(
        self,
        limits: RunnerConfig,
        store: Store,
        live: LiveJobs,
        recorder: Recorder,
        tasks: Tasks,
        local: LocalLauncher,
        workers: Workers | None,
    ) -> None:
        """Begin.

        Args:
            limits: What holds for all scripts.
            store: The history.
            live: The jobs that live.
            recorder: Records their ends.
            tasks: The jobs that run.
            local: What starts scripts on this machine.
            workers: The machines that run them instead; None for this one.
        """
        self._limits = limits
        self._store = store
        self._live = live
        self._recorder = recorder
        self._tasks = tasks
        self._disk = local.disk
        self._launcher: Launcher = workers or local
        self._workers = workers

    # -- a job that is new

    def take_slot(self, job: LiveJob) -> bool:
        """Make a job `running` if it may start now and none of its script is before it.

        None of another script is, either: one that may start does not wait while a slot is free.
        """
        waits = self._live.queue.count(job.script.id) > 0
        if waits or not self._has_slot or not self._live.has_room(job):
            return False
        self._mark_running(job)
        return True

    async def start_at_once(self, job: LiveJob) -> None:
        """Start a job that has a slot.

        Raises:
            OutOfResources: If it cannot be started just now; it is not in the history then.
        """
        try:
            self._start(job)
        except OutOfResources:
            await self._store.delete([job.record.seq])
            raise

    def go_on(self, job: LiveJob) -> None:
        """See a job that runs already to its end."""
        self._tasks.spawn(self.run(job))

    async def run(self, job: LiveJob) -> None:
        """See a job that was started to its end, and give its slot to another."""
        try:
            await job.run()
            await self._recorder.record_end(job)
        except Detached:
            job.settled.set()
        finally:
            self.free_slot(job)

    def free_slot(self, job: LiveJob) -> None:
        """Let another job have the slot of one that has ended."""
        self._live.free_slot(job)
        self.look()

    # -- the queue

    def look(self) -> None:
        """Start what may start now: something has changed."""
        if self._workers is not None:
            self._workers.look()
        while self._has_slot and (
            job := next(self._live.queue.startable(self._live.has_room), None)
        ):
            self._live.queue.pop(job.record.job_id)
            self._live.begin(job)
            kept = job.record.script
            self._mark_running(job)
            self._tasks.spawn(self._run_from_queue(job, kept))

    @property
    def _has_slot(self) -> bool:
        """Whether a job may start on this machine now."""
        return self._workers is None and self._live.has_slot()

    def _mark_running(self, job: LiveJob) -> None:
        self._live.take_slot(job)
        job.record.status = Status.RUNNING
        job.record.script = None
        job.record.started_ms = now_ms()

    async def _run_from_queue(self, job: LiveJob, kept: str | None) -> None:
        try:
            # On record before it runs: after a crash a job that may have run is not run again.
            await self._store.save(job.record)
        except StoreError as error:
            job.fail_to_start(error)
        else:
            if not await self._start_when_possible(job, kept):
                return
        await self._run_or_withdraw(job)

    async def _run_or_withdraw(self, job: LiveJob) -> None:
        if not job.refused:
            await self.run(job)
            return
        # It got a slot before it could be recorded, and was refused for that.
        del self._live.begun[job.record.job_id]
        with contextlib.suppress(StoreError):
            await self._store.delete([job.record.seq])
        self.free_slot(job)

    # -- other machines

    def startable(self, may_start: Callable[[LiveJob], bool]) -> Iterator[LiveJob]:
        """The queued jobs that may start, the oldest first; see `Queue.startable`."""
        return self._live.queue.startable(lambda job: self._live.has_room(job) and may_start(job))

    def begun(self, job_id: str) -> LiveJob | None:
        """A job that has begun and not ended, or None."""
        return self._live.begun.get(job_id)

    async def start_on(self, job_id: str, worker: str) -> bool:
        """Start a queued job on another machine.

        Returns:
            Whether that machine is on record as the one that runs it; nobody else ever is.
        """
        waiting = self._live.all.get(job_id)
        if waiting is None or self._live.stopping or not self._live.has_room(waiting):
            return False
        job = self._live.queue.pop(job_id)
        if job is None:
            return False
        self._live.begin(job)
        kept = job.record.script
        self._mark_running(job)
        job.record.worker = worker
        # A task of its own: whoever asked may go away, and the stop waits for it.
        return await asyncio.shield(self._tasks.spawn(self._start_elsewhere(job, kept)))

    async def note_loss(self, job_id: str, worker: str, stream: Stream) -> None:
        """Note that something came after the end of a job that another machine has run."""
        try:
            record = await self._store.get(job_id)
            if record is not None and record.worker == worker and record.has_ended:
                await self._store.mark_truncated(record.seq, stream)
        except StoreError as error:
            log.event("error", message=f"{job_id}: {error}")

    async def _start_elsewhere(self, job: LiveJob, kept: str | None) -> bool:
        try:
            # On the disk: after a power cut no other machine may get it.
            await self._store.save(job.record)
            await self._store.sync()
        except StoreError as error:
            job.fail_to_start(error)
        else:
            if not await self._start_when_possible(job, kept):
                return False
        self._tasks.spawn(self._run_or_withdraw(job))
        return job.has_process

    # -- from its start to its end

    async def _put_back(self, job: LiveJob, kept: str | None) -> None:
        """Have a job that nobody has started yet stay queued for the next start."""
        job.record.status, job.record.started_ms, job.record.worker = Status.QUEUED, None, None
        job.record.script = kept
        del self._live.begun[job.record.job_id]
        self._live.free_slot(job)
        # It can be cancelled until the last caller has gone.
        self._live.queue.put_back(job)
        await self._recorder.try_to_save(job)

    def _start(self, job: LiveJob) -> None:
        if self._live.stopping:
            job.end_process(Status.CANCELED)
        job.start(self._limits, self._launcher, self._disk)
        if job.has_process:
            log.job_start(job.record)

    async def _start_when_possible(self, job: LiveJob, kept: str | None) -> bool:
        """Start a job that was accepted long ago; no shortage of the system makes it fail.

        Args:
            job: The job; one that was refused is not started.
            kept: The configuration of its script when it was accepted.

        Returns:
            Whether its end is to be seen to; False if the runner stops, and it stays queued.
        """
        while not job.refused:
            if self._live.stopping and not job.is_told_to_end:
                await self._put_back(job, kept)
                return False
            try:
                self._start(job)
            except OutOfResources as shortage:
                log.event("error", message=f"{job.record.job_id} has to wait: {shortage}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        return True
