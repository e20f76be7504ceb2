"""What may be asked of a runner: run a script, wait for a job, cancel it, stop."""

from __future__ import annotations

import asyncio
import dataclasses

from local_runner.config import Config, Mode
from local_runner.jobs.allowlist import Allowlist
from local_runner.jobs.dispatcher import Dispatcher
from local_runner.jobs.job import NO_EXIT_CODE, LiveJob, mark_ended
from local_runner.jobs.live import LiveJobs
from local_runner.jobs.reader import Reader
from local_runner.jobs.record import JobRecord, Status
from local_runner.jobs.recorder import Recorder
from local_runner.jobs.recovery import Recovery
from local_runner.processes.launcher import Workers
from local_runner.processes.local import LocalLauncher
from local_runner.processes.shortage import OutOfResources
from local_runner.storage.history import Store, StoreError
from local_runner.storage.retention import Retention
from local_runner.tasks import Tasks


class Unavailable(Exception):
    """The runner cannot do this now; the message says why and what to do."""


class Scheduler:
    """Accepts, cancels and stops jobs; it belongs to one event loop.

    Attributes:
        reader: What may be looked at.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        workers: Workers | None = None,
        launcher: LocalLauncher | None = None,
    ) -> None:
        """Prepare; `recover` must be called before the first run.

        Args:
            config: The scripts and how they run.
            store: The history.
            workers: The machines that run the scripts; None for this one.
            launcher: What starts them on this one.
        """
        self._config = config
        self._store = store
        self._workers = workers
        self._local = launcher or LocalLauncher()
        limits, disk = config.runner, self._local.disk
        self._allowlist = Allowlist(config)
        self._retention = Retention(store, limits, disk)
        self._tasks = Tasks()
        self._live = live = LiveJobs(limits.max_concurrent, store.last_seq)
        self._recorder = Recorder(store, live, self._retention, self._tasks)
        self._recovery = Recovery(
            limits, store, self._allowlist, live, self._recorder, workers, disk
        )
        self._dispatcher = Dispatcher(
            limits, store, live, self._recorder, self._tasks, self._local, workers
        )
        self.reader = Reader(config, store, self._allowlist, live, workers)

    async def recover(self) -> None:
        """Take up the history: what ran when the last runner ended has failed, the queue goes on.

        Raises:
            StoreError: If the history cannot be read or written.
            Unreachable: If other machines run the scripts and can never be reached.
        """
        await self._recovery.take_up(self._dispatcher.go_on)
        await self._retention.trim()
        if self._workers is not None and not self._live.stopping:
            await self._workers.open(self._dispatcher, self.reader)
        self._dispatcher.look()

    async def run(self, script_id: object, args: object, mode: object) -> LiveJob:
        """Accept a run; it is on the disk when this returns.

        Args:
            script_id: The `scriptId` of the request, whatever it is.
            args: Its `args`, `[]` when it had none.
            mode: Its `mode`; anything but the two known words counts as none.

        Returns:
            The accepted job; it may have ended by now.

        Raises:
            Refused: If the script is not allow-listed or the arguments are not as it takes them.
            Unavailable: If the runner is stopping.
            OutOfResources: If the system can give no more; it is not run then.
            StoreError: If the job cannot be recorded; it is not run then.
        """
        await self._allowlist.refresh()
        script, checked = self._allowlist.check(script_id, args)
        chosen: Mode
        if mode == "sync" or mode == "async":
            chosen = mode
        else:
            chosen = script.mode or self._config.runner.default_mode
        job = self._recorder.new(script, checked, chosen, self._allowlist.kept(script))
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A task of its own: a caller that goes away does not stop it, and `stop` waits for it.
        self._tasks.spawn(self._see_through(job, accepted))
        await accepted
        if job.record.mode == "async":
            await self._sync(job)
        return job

    async def _see_through(self, job: LiveJob, accepted: asyncio.Future[None]) -> None:
        """Accept a job, and see it to its end if it starts at once."""
        try:
            has_started = await self._accept(job)
        except Exception as error:
            if accepted.cancelled():
                raise
            accepted.set_exception(error)
            return
        if not accepted.cancelled():
            accepted.set_result(None)
        if has_started:
            await self._dispatcher.run(job)

    async def _accept(self, job: LiveJob) -> bool:
        """Record a job, and start it if it may start at once; returns whether it has been."""
        if self._live.stopping:
            raise Unavailable("the runner is stopping, the job was not accepted: try again later")
        has_slot = self._dispatcher.take_slot(job)
        if not has_slot:
            # Now: nobody who comes while it is being recorded gets before it.
            self._live.queue.add(job)
        job.accepted_as = job.record.status
        try:
            await self._store.save(job.record)
            if has_slot:
                await self._dispatcher.start_at_once(job)
        except (StoreError, OutOfResources):
            job.refused = True
            self._live.queue.pop(job.record.job_id)
            if has_slot:
                self._dispatcher.free_slot(job)
            raise
        self._retention.note_new()
        self._live.all[job.record.job_id] = job
        if has_slot:
            self._live.begin(job)
        elif self._live.stopping:
            # Unless it has left the queue meanwhile: it ends, and is settled then.
            if job.record.job_id in self._live.queue:
                job.settled.set()
        elif self._workers is not None:
            self._workers.look()
        return has_slot

    async def _sync(self, job: LiveJob) -> None:
        """See that a job is on the disk before somebody is told that it is accepted.

        Nobody is told of a sync job before it has ended, so that a loss of power may lose it.
        """
        try:
            await self._store.sync()
        except StoreError:
            await self.cancel(job.record.job_id)
            raise

    async def ended(self, job: LiveJob) -> JobRecord:
        """Wait until an accepted job has ended.

        Raises:
            Unavailable: If the runner stops first, and the job stays queued or goes on elsewhere.
        """
        await job.settled.wait()
        if not job.record.has_ended:
            if job.record.status == Status.RUNNING:
                goes_on = f"goes on on {job.record.worker}"
            else:
                goes_on = "stays queued and runs when the runner is back"
            raise Unavailable(
                f"the runner is stopping, job {job.record.job_id} {goes_on}: look at it then, do "
                "not run it again"
            )
        return job.record

    async def cancel(self, job_id: str) -> JobRecord | None:
        """Cancel a job that has not ended; see `Reader.job` for what is returned."""
        live = self._live.all.get(job_id)
        if live is not None and not live.record.has_ended:
            if self._live.queue.pop(job_id):
                # A task of its own: a caller that goes away does not stop it half way.
                await asyncio.shield(self._tasks.spawn(self._cancel_queued(live)))
            elif not live.end_process(Status.CANCELED):
                # It is about to end by itself. To say that it runs would promise its cancel.
                await live.settled.wait()
        return await self.reader.job(job_id)

    async def _cancel_queued(self, job: LiveJob) -> None:
        """End a job that waits; it waits on if that cannot be recorded."""
        ended = dataclasses.replace(job.record)
        mark_ended(ended, Status.CANCELED, NO_EXIT_CODE, 0)
        try:
            await self._store.save(ended)
        except StoreError:
            self._live.queue.put_back(job)
            if self._live.stopping:
                job.settled.set()
            self._dispatcher.look()
            raise
        job.record = ended
        job.settled.set()
        self._recorder.forget(job)
        # As safe as its acceptance: else it would run after a loss of power.
        await self._store.sync()

    async def stop(self) -> None:
        """End the running scripts as a cancel would; queued jobs stay queued for the next start.

        Scripts on other machines may be left alone instead, and the next start takes them up.
        """
        self._live.stopping = True
        for job in self._live.queue:
            job.settled.set()
        if self._workers is not None and self._workers.scripts_go_on:
            self._workers.detach()
        else:
            for job in self._live.started():
                job.end_process(Status.CANCELED)
        await self._tasks.ended()
        if self._workers is not None:
            await self._workers.close()
        self._local.close()
        await self._retention.close()

    def kill(self) -> None:
        """End the running scripts at once, unless they are left alone."""
        if self._workers is None or not self._workers.scripts_go_on:
            for job in self._live.started():
                job.kill()
