"""Which job runs when, how it ends, and what survives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from local_runner import log
from local_runner.config import Config, Mode, ScriptConfig
from local_runner.jobs.allowlist import Allowlist, Refused
from local_runner.jobs.job import NO_EXIT_CODE, LiveJob, mark_ended, mark_interrupted, now_ms
from local_runner.jobs.listing import (
    MAX_ARGS_SIZE,
    AgentView,
    JobList,
    JobQuery,
    ScriptState,
    list_jobs,
)
from local_runner.jobs.queue import Queue
from local_runner.jobs.record import JobRecord, Status, Stream
from local_runner.processes.launcher import Detached, Launcher, Workers
from local_runner.processes.local import LocalLauncher
from local_runner.processes.orphans import end_processes_of
from local_runner.processes.shortage import OutOfResources
from local_runner.storage.history import Store, StoreError
from local_runner.storage.log_pages import Page, read_page
from local_runner.storage.retention import Retention

T = TypeVar("T")

TAG_DIGITS = 6
"""Random digits, one set a runner, at the end of its job ids: two runners of one machine that begin
a job in the same millisecond must not take each other's processes for their own."""

RETRY_SECONDS = 1.0
"""How long to wait before trying again what the system could not do: a full disk, no open files."""


class Unavailable(Exception):
    """The runner cannot do this now; the message says why and what to do."""


class Scheduler:
    """Runs jobs: at most `maxConcurrent` at once, the others in the order they came.

    It belongs to one event loop; every method is called there.
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
        self._disk = self._local.disk
        self._allowlist = Allowlist(config)
        self._launcher: Launcher = workers or self._local
        self._retention = Retention(store, config.runner, self._disk)
        self._seq = store.last_seq
        self._tag = f"{secrets.randbelow(10**TAG_DIGITS):0{TAG_DIGITS}}"
        self._live: dict[str, LiveJob] = {}
        self._queue = Queue()
        self._begun: dict[str, LiveJob] = {}
        """The live jobs that are not in the queue."""
        self._busy = 0
        self._running: Counter[str] = Counter()
        """How many jobs of a script run."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def recover(self) -> None:
        """Take up the history: what ran when the last runner ended has failed, the queue goes on.

        Raises:
            StoreError: If the history cannot be read or written.
            Unreachable: If other machines run the scripts and can never be reached.
        """
        live = await self._store.live()
        running = [record for record in live if record.status == Status.RUNNING]
        elsewhere = [record for record in running if self._workers and record.worker]
        await self._interrupt([record for record in running if record not in elsewhere])
        for record in live:
            if record.status == Status.QUEUED:
                await self._take_up(record)
        for record in elsewhere:
            await self._resume(record)
        await self._retention.trim()
        if self._workers is not None and not self._stopping:
            await self._workers.open(self)
        self._start_next()

    async def _interrupt(self, interrupted: list[JobRecord]) -> None:
        """End what a killed runner left behind of some jobs, and the jobs."""
        if interrupted:
            ids = [record.job_id for record in interrupted]
            grace = self._config.runner.kill_grace_seconds
            ended = await self._disk.run(lambda: end_processes_of(ids, grace))
            log.event("recovered", interrupted_jobs=len(ids), processes_ended=ended)
        for record in interrupted:
            await self._disk.run(functools.partial(mark_interrupted, record, self._config.runner))
            log.job_end(record)
            await self._store.save(record)

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
        job = self._new_job(script, checked, chosen)
        # A task of its own: a caller that goes away does not stop it, and `stop` waits for it.
        await asyncio.shield(self._spawn(self._accept(job)))
        if job.record.mode == "async":
            await self._sync(job)
        return job

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

    async def job(self, job_id: str) -> JobRecord | None:
        """A job as it is now, or None where there is none of that id."""
        if live := self._live.get(job_id):
            return await live.preview()
        return await self._store.get(job_id)

    async def jobs(self, query: JobQuery) -> JobList:
        """Some of the jobs, live and ended, the newest first.

        Raises:
            Refused: If `before` names no job.
            StoreError: If the history cannot be read.
        """
        below = self._seq + 1
        if query.before is not None:
            known = await self.job(query.before)
            if known is None:
                raise Refused(
                    "INVALID_ARGS",
                    f"before: job not found: {query.before[:200]}: begin again without before",
                )
            below = known.seq
        matching = {"status": query.status, "script_id": query.script_id}
        # One more than asked for tells whether there are more.
        rows = await self._store.newest(below, query.limit + 1, matching, MAX_ARGS_SIZE)
        return list_jobs(query, below, rows, self._live, self._begun)

    async def scripts(self) -> list[ScriptState]:
        """The scripts that may be run, in the order of the configuration."""
        await self._allowlist.refresh()
        return [
            ScriptState(
                script,
                script.mode or self._config.runner.default_mode,
                running=self._running[script.id],
                queued=self._queue.count(script.id),
                able=None if self._workers is None else self._workers.able(script),
            )
            for script in self._allowlist.scripts
        ]

    def agents(self) -> list[AgentView] | None:
        """The machines that run the scripts; None if it is this one alone."""
        return None if self._workers is None else self._workers.agents()

    async def cancel(self, job_id: str) -> JobRecord | None:
        """Cancel a job that has not ended; see `job` for what is returned."""
        live = self._live.get(job_id)
        if live is not None and not live.record.has_ended:
            if self._queue.pop(job_id):
                # A task of its own: a caller that goes away does not stop it half way.
                await asyncio.shield(self._spawn(self._cancel_queued(live)))
            elif not live.end_process(Status.CANCELED):
                # It is about to end by itself. To say that it runs would promise its cancel.
                await live.settled.wait()
        return await self.job(job_id)

    async def _cancel_queued(self, job: LiveJob) -> None:
        """End a job that waits; it waits on if that cannot be recorded."""
        ended = dataclasses.replace(job.record)
        mark_ended(ended, Status.CANCELED, NO_EXIT_CODE, 0)
        try:
            await self._store.save(ended)
        except StoreError:
            self._queue.put_back(job)
            if self._stopping:
                job.settled.set()
            self._start_next()
            raise
        job.record = ended
        job.settled.set()
        self._forget(job)

    async def flush(self, job_id: str) -> None:
        """Wait until what a job has printed by now is in the files of its logs."""
        if live := self._live.get(job_id):
            await live.flush()

    async def page(self, record: JobRecord, stream: Stream, offset: int, limit: int) -> Page:
        """A page of a job's log, as far as it is in its file; see `flush` and `read_page`."""
        path, ended = Path(self._config.runner.logs_dir, record.log_name(stream)), record.has_ended
        return await self._disk.run(lambda: read_page(path, offset, limit, ended=ended))

    async def stop(self) -> None:
        """End the running scripts as a cancel would; queued jobs stay queued for the next start.

        Scripts on other machines may be left alone instead, and the next start takes them up.
        """
        self._stopping = True
        for job in self._queue:
            job.settled.set()
        if self._workers is not None and self._workers.scripts_go_on:
            self._workers.detach()
        else:
            for job in self._begun.values():
                job.end_process(Status.CANCELED)
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._workers is not None:
            await self._workers.close()
        self._local.close()
        await self._retention.close()

    def kill(self) -> None:
        """End the running scripts at once, unless they are left alone."""
        if self._workers is None or not self._workers.scripts_go_on:
            for job in self._live.values():
                job.kill()

    # -- other machines

    def startable(self, may_start: Callable[[LiveJob], bool]) -> Iterator[LiveJob]:
        """The queued jobs that may start, the oldest first; see `Queue.startable`."""
        return self._queue.startable(lambda job: self._has_room(job) and may_start(job))

    def live(self, job_id: str) -> LiveJob | None:
        """A job that has begun and not ended, or None."""
        return self._begun.get(job_id)

    async def start_on(self, job_id: str, worker: str) -> bool:
        """Start a queued job on another machine.

        Returns:
            Whether that machine is on record as the one that runs it; nobody else ever is.
        """
        waiting = self._live.get(job_id)
        if waiting is None or self._stopping or not self._has_room(waiting):
            return False
        job = self._queue.pop(job_id)
        if job is None:
            return False
        self._begun[job_id] = job
        self._mark_running(job)
        job.record.worker = worker
        # A task of its own: whoever asked may go away, and `stop` waits for it.
        return await asyncio.shield(self._spawn(self._start_elsewhere(job)))

    async def _start_elsewhere(self, job: LiveJob) -> bool:
        try:
            # On the disk: after a power cut no other machine may get it.
            await self._store.save(job.record)
            await self._store.sync()
        except StoreError as error:
            job.fail_to_start(error)
        else:
            if self._stopping:
                await self._put_back(job)
                return False
            if not job.refused:
                await self._start_when_possible(job)
        self._spawn(self._withdraw(job) if job.refused else self._run(job))
        return job.has_process

    async def _put_back(self, job: LiveJob) -> None:
        """Have a job that nobody has started yet stay queued for the next start."""
        job.record.status, job.record.started_ms, job.record.worker = Status.QUEUED, None, None
        await self._try_to_save(job)

    async def _resume(self, record: JobRecord) -> None:
        script = self._allowlist.script(record.script_id)
        job = self._hold(
            record, script or ScriptConfig.model_construct(id=record.script_id, path="")
        )
        self._live[record.job_id] = self._begun[record.job_id] = job
        self._busy += 1
        self._running[record.script_id] += 1
        assert self._workers is not None
        await job.resume(self._config.runner, self._workers, self._disk)
        self._spawn(self._run(job))

    # -- accepting

    def _new_job(self, script: ScriptConfig, args: list[str], mode: Mode) -> LiveJob:
        self._seq += 1
        now = now_ms()
        record = JobRecord(
            seq=self._seq,
            job_id=f"job_{now}_{self._seq}{self._tag}",
            script_id=script.id,
            args=args,
            mode=mode,
            status=Status.QUEUED,
            created_ms=now,
            script=self._allowlist.kept(script),
        )
        return self._hold(record, script)

    def _hold(self, record: JobRecord, script: ScriptConfig) -> LiveJob:
        job = LiveJob(record, script)
        job.on_loss = lambda record, stream: self._spawn(self._note_loss(record, stream))
        return job

    async def _accept(self, job: LiveJob) -> None:
        if self._stopping:
            raise Unavailable("the runner is stopping, the job was not accepted: try again later")
        has_slot = self._take_slot(job)
        if not has_slot:
            # Now: nobody who comes while it is being recorded gets before it.
            self._queue.add(job)
        job.accepted_as = job.record.status
        try:
            await self._store.save(job.record)
            if has_slot:
                await self._start_or_withdraw(job)
        except (StoreError, OutOfResources):
            job.refused = True
            self._queue.pop(job.record.job_id)
            if has_slot:
                self._free_slot(job)
            raise
        self._retention.note_new()
        self._live[job.record.job_id] = job
        if has_slot:
            self._begun[job.record.job_id] = job
            self._spawn(self._run(job))
        elif self._stopping:
            # Unless it has left the queue meanwhile: it ends, and is settled then.
            if job.record.job_id in self._queue:
                job.settled.set()
        elif self._workers is not None:
            self._workers.look()

    def _start(self, job: LiveJob) -> None:
        if self._stopping:
            job.end_process(Status.CANCELED)
        job.start(self._config.runner, self._launcher, self._disk)
        if job.has_process:
            log.job_start(job.record)

    async def _start_or_withdraw(self, job: LiveJob) -> None:
        try:
            self._start(job)
        except OutOfResources:
            await self._store.delete([job.record.seq])
            raise

    # -- running

    def _take_slot(self, job: LiveJob) -> bool:
        """Make a job `running` if it may start now and none of its script is before it.

        None of another script is, either: one that may start does not wait while a slot is free.
        """
        waits = self._queue.count(job.script.id) > 0
        if waits or not self._has_slot or not self._has_room(job):
            return False
        self._mark_running(job)
        return True

    def _mark_running(self, job: LiveJob) -> None:
        self._busy += 1
        self._running[job.record.script_id] += 1
        job.record.status = Status.RUNNING
        job.record.script = None
        job.record.started_ms = now_ms()

    @property
    def _has_slot(self) -> bool:
        """Whether a job may start on this machine now."""
        free = self._busy < self._config.runner.max_concurrent
        return free and self._workers is None and not self._stopping

    def _has_room(self, job: LiveJob) -> bool:
        """Whether a job may start as far as others of its script are concerned."""
        limit = job.script.max_concurrent
        return limit is None or self._running[job.script.id] < limit

    def _start_next(self) -> None:
        if self._workers is not None:
            self._workers.look()
        while self._has_slot and (job := next(self._queue.startable(self._has_room), None)):
            self._queue.pop(job.record.job_id)
            self._begun[job.record.job_id] = job
            self._mark_running(job)
            self._spawn(self._run_from_queue(job))

    def _spawn(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _free_slot(self, job: LiveJob) -> None:
        self._busy -= 1
        self._running[job.record.script_id] -= 1
        self._start_next()

    async def _run_from_queue(self, job: LiveJob) -> None:
        try:
            # On record before it runs: after a crash a job that may have run is not run again.
            await self._store.save(job.record)
        except StoreError as error:
            job.fail_to_start(error)
        else:
            if not job.refused:
                await self._start_when_possible(job)
        if job.refused:
            await self._withdraw(job)
        else:
            await self._run(job)

    async def _withdraw(self, job: LiveJob) -> None:
        """Give up a job that got a slot before it could be recorded, and was refused for that."""
        del self._begun[job.record.job_id]
        with contextlib.suppress(StoreError):
            await self._store.delete([job.record.seq])
        self._free_slot(job)

    async def _start_when_possible(self, job: LiveJob) -> None:
        """Start a job that was accepted long ago; no shortage of the system makes it fail."""
        while True:
            try:
                self._start(job)
            except OutOfResources as shortage:
                log.event("error", message=f"{job.record.job_id} has to wait: {shortage}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _run(self, job: LiveJob) -> None:
        try:
            await job.run()
            await self._record_end(job)
        except Detached:
            job.settled.set()
        finally:
            self._free_slot(job)

    # -- ending

    async def _record_end(self, job: LiveJob) -> None:
        """Record an end; while that cannot be done the job is answered from memory."""
        while not await self._try_to_save(job):
            if self._stopping:
                break
            await asyncio.sleep(RETRY_SECONDS)
        # Who waits for the end goes on first.
        await asyncio.sleep(0)
        self._forget(job)

    def _forget(self, job: LiveJob) -> None:
        log.job_end(job.record)
        job_id = job.record.job_id
        del self._live[job_id]
        self._begun.pop(job_id, None)
        self._retention.note_end(job.record)

    async def _try_to_save(self, job: LiveJob) -> bool:
        try:
            await self._store.save(job.record)
        except StoreError as error:
            log.event("error", message=f"{job.record.job_id}: {error}")
            return False
        finally:
            job.settled.set()
        job.recorded.set()
        return True

    async def _note_loss(self, record: JobRecord, stream: Stream) -> None:
        try:
            await self._store.mark_truncated(record.seq, stream)
        except StoreError as error:
            log.event("error", message=f"{record.job_id}: {error}")

    # -- taking up the history

    async def _take_up(self, record: JobRecord) -> None:
        """Queue a job again, unless the configuration has changed and would refuse it now."""
        try:
            script, _ = self._allowlist.check(record.script_id, list(record.args))
        except Refused as refusal:
            mark_ended(record, Status.FAILED, NO_EXIT_CODE, 0)
            record.stderr_preview = (
                "not started after a restart, the configuration does not allow it any more: "
                f"{refusal}\n"
            )
            log.job_end(record)
            await self._store.save(record)
            return
        accepted = self._allowlist.as_accepted(script, record.script)
        record.script = self._allowlist.kept(accepted)
        job = self._hold(record, accepted)
        self._live[record.job_id] = job
        self._queue.add(job)
