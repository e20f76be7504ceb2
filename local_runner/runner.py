"""Which job runs when, how it ends, and what survives a restart."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Coroutine
from pathlib import Path

from local_runner import events
from local_runner.config import Config, Mode, ScriptConfig
from local_runner.live import NO_EXIT_CODE, LiveJob, mark_ended, now_ms, take_output
from local_runner.logs import LogWriter, Page, read_page, read_tail
from local_runner.process import CannotStart, ScriptProcess, end_processes_of
from local_runner.rules import Refused, Rules
from local_runner.store import JobRecord, Store, StoreError, Stream

FORGOTTEN_AT_ONCE = 500
"""The most jobs that are forgotten at once, when `maxJobs` was lowered."""

SAVE_RETRY_SECONDS = 1.0
"""How long to wait before trying again to record how a job ended, when the disk is full."""

STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class Unavailable(Exception):
    """The runner cannot do this now; the message says why and what to do."""


class Runner:
    """Runs jobs: at most `maxConcurrent` at once, the others in the order they came.

    It belongs to one event loop; every method is called there.
    """

    def __init__(self, config: Config, store: Store) -> None:
        """Prepare; `recover` must be called before the first run."""
        self._config = config
        self._store = store
        self._rules = Rules(config.scripts)
        self._seq = store.last_seq
        self._kept = store.count
        self._live: dict[str, LiveJob] = {}
        self._queue: OrderedDict[str, LiveJob] = OrderedDict()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._forgetting = asyncio.Lock()
        self._stopping = False

    async def recover(self) -> None:
        """Take up the history: what ran when the last runner ended has failed, the queue goes on.

        Raises:
            StoreError: If the history cannot be read or written.
        """
        live = await self._store.live()
        interrupted = [record for record in live if record.status == "running"]
        if interrupted:
            ids = [record.job_id for record in interrupted]
            grace = self._config.runner.kill_grace_seconds
            ended = await asyncio.to_thread(end_processes_of, ids, grace)
            events.log("recovered", interrupted_jobs=len(ids), processes_ended=ended)
        for record in interrupted:
            await self._record_interruption(record)
        for record in live:
            if record.status == "queued":
                await self._take_up(record)
        await self._forget_oldest()
        self._start_next()

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
            StoreError: If the job cannot be recorded; it is not run then.
        """
        script, checked = self._rules.check(script_id, args)
        chosen: Mode
        if mode == "sync" or mode == "async":
            chosen = mode
        else:
            chosen = script.mode or self._config.runner.default_mode
        job = self._new_job(script, checked, chosen)
        # A task of its own: a caller that goes away does not stop it, and `stop` waits for it.
        await asyncio.shield(self._spawn(self._accept(job)))
        return job

    async def ended(self, job: LiveJob) -> JobRecord:
        """Wait until an accepted job has ended.

        Raises:
            Unavailable: If the runner stops first and the job stays queued.
        """
        await job.settled.wait()
        if not job.record.has_ended:
            raise Unavailable(
                f"the runner is stopping, job {job.record.job_id} stays queued and runs when the "
                "runner is back: look at it then, do not run it again"
            )
        return job.record

    async def job(self, job_id: str) -> JobRecord | None:
        """A job as it is now, or None where there is none of that id."""
        if live := self._live.get(job_id):
            return live.snapshot()
        return await self._store.get(job_id)

    async def cancel(self, job_id: str) -> JobRecord | None:
        """Cancel a job that has not ended; see `job` for what is returned."""
        live = self._live.get(job_id)
        if live is not None and not live.record.has_ended:
            if self._queue.pop(job_id, None):
                self._spawn(self._end(live, "canceled", NO_EXIT_CODE))
                await live.settled.wait()
            else:
                live.end_process("canceled")
        return await self.job(job_id)

    def page(self, record: JobRecord, stream: Stream, offset: int, limit: int) -> Page:
        """A page of a job's log; see `logs.read_page`."""
        path = self._log_path(record, stream)
        return read_page(path, offset, limit, ended=record.has_ended)

    async def stop(self) -> None:
        """End the running scripts as a cancel would; queued jobs stay queued for the next start."""
        self._stopping = True
        for job in self._queue.values():
            job.settled.set()
        self._queue.clear()
        for job in self._live.values():
            job.end_process("canceled")
        while self._tasks:
            await asyncio.wait(self._tasks)

    def kill(self) -> None:
        """End the running scripts at once."""
        for job in self._live.values():
            job.end_process("canceled")
            if job.process is not None:
                job.process.kill()

    # -- accepting

    def _new_job(self, script: ScriptConfig, args: list[str], mode: Mode) -> LiveJob:
        self._seq += 1
        now = now_ms()
        record = JobRecord(
            seq=self._seq,
            job_id=f"job_{now}_{self._seq}",
            script_id=script.id,
            args=args,
            mode=mode,
            status="queued",
            created_ms=now,
        )
        return LiveJob(record, script)

    async def _accept(self, job: LiveJob) -> None:
        if self._stopping:
            raise Unavailable("the runner is stopping, the job was not accepted: try again later")
        has_slot = self._take_slot(job)
        job.accepted_as = job.record.status
        try:
            # Nobody is told of a sync job before it has ended: a crash of the system may lose it.
            await self._store.save(job.record, durable=job.record.mode == "async")
        except StoreError:
            if has_slot:
                self._free_slot()
            raise
        self._kept += 1
        self._live[job.record.job_id] = job
        if has_slot:
            self._spawn(self._run(job))
        elif self._stopping:
            job.settled.set()
        else:
            self._queue[job.record.job_id] = job
            self._start_next()

    # -- running

    def _take_slot(self, job: LiveJob) -> bool:
        """Make a job `running` when nothing is before it in the queue and a slot is free."""
        if self._queue or self._stopping or self._busy >= self._config.runner.max_concurrent:
            return False
        self._mark_running(job)
        return True

    def _mark_running(self, job: LiveJob) -> None:
        self._busy += 1
        job.record.status = "running"
        job.record.started_ms = now_ms()

    def _start_next(self) -> None:
        while (
            self._queue and not self._stopping and self._busy < self._config.runner.max_concurrent
        ):
            _, job = self._queue.popitem(last=False)
            self._mark_running(job)
            self._spawn(self._run_from_queue(job))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _free_slot(self) -> None:
        self._busy -= 1
        self._start_next()

    async def _run_from_queue(self, job: LiveJob) -> None:
        try:
            # On record before it runs: after a crash a job that may have run is not run again.
            await self._store.save(job.record)
        except StoreError as error:
            job.failure = f"the job could not be started: {error}"
            await self._end(job, "failed", NO_EXIT_CODE)
            self._free_slot()
        else:
            await self._run(job)

    async def _run(self, job: LiveJob) -> None:
        begun = time.monotonic()
        try:
            job.logs = self._open_logs(job.record)
            status, code = await self._execute(job, job.logs)
        except Exception as error:
            # Whatever it is, the job must end and its slot must become free.
            status, code = "failed", NO_EXIT_CODE
            what = "could not be started" if job.process is None else "failed in the runner"
            job.failure = f"the job {what}: {error}"
            if not isinstance(error, OSError):
                events.log_failure(f"{job.record.job_id} {what}")
            if job.process is not None:
                job.process.terminate()
        for log in job.logs or ():
            try:
                log.close()
            except OSError as error:
                status, code = "failed", NO_EXIT_CODE
                job.failure = f"the log could not be written: {error.strerror}"
        await self._end(job, status, code, round((time.monotonic() - begun) * 1000))
        self._free_slot()

    async def _execute(self, job: LiveJob, logs: tuple[LogWriter, LogWriter]) -> tuple[str, int]:
        """Run the script to its end; returns the status and the code."""
        if self._stopping or job.ended_by is not None:
            return "canceled", NO_EXIT_CODE
        command = [job.script.path, *job.record.args]
        grace = self._config.runner.kill_grace_seconds
        try:
            job.process = ScriptProcess(command, job.record.job_id, logs, grace)
        except CannotStart as error:
            logs[1].write(f"{error}\n".encode("utf-8", "replace"))
            return "failed", NO_EXIT_CODE if error.code is None else error.code
        timeout = None
        if job.script.timeout_sec:
            timeout = asyncio.get_running_loop().call_later(
                job.script.timeout_sec, job.end_process, "timed_out"
            )
        code = await job.process.wait()
        if timeout is not None:
            timeout.cancel()
        if job.process.output_failure is not None:
            job.failure = f"the log could not be written: {job.process.output_failure.strerror}"
            return "failed", NO_EXIT_CODE
        if job.ended_by is not None:
            return job.ended_by, NO_EXIT_CODE
        return ("failed" if code else "succeeded"), code

    def _open_logs(self, record: JobRecord) -> tuple[LogWriter, LogWriter]:
        limits = (
            self._config.runner.max_log_bytes_per_stream,
            self._config.runner.preview_max_bytes,
        )
        stdout = LogWriter(self._log_path(record, "stdout"), *limits)
        try:
            return stdout, LogWriter(self._log_path(record, "stderr"), *limits)
        except OSError:
            stdout.close()
            raise

    def _log_path(self, record: JobRecord, stream: Stream) -> Path:
        return Path(self._config.runner.logs_dir, record.log_name(stream))

    # -- ending

    async def _end(self, job: LiveJob, status: str, code: int, duration_ms: int = 0) -> None:
        record = job.record
        mark_ended(record, status, code, duration_ms)
        if job.logs is not None:
            take_output(record, job.logs)
        if job.failure is not None:
            record.stderr_preview = f"{record.stderr_preview}\n{job.failure}\n".lstrip("\n")
        events.log_job_end(record)
        await self._record_end(job)
        del self._live[record.job_id]
        await self._forget_oldest()

    async def _record_end(self, job: LiveJob) -> None:
        """Record an end; while that cannot be done the job is answered from memory."""
        while True:
            try:
                await self._store.save(job.record)
            except StoreError as error:
                events.log("error", message=f"{job.record.job_id}: {error}")
                job.settled.set()
                if self._stopping:
                    return
                await asyncio.sleep(SAVE_RETRY_SECONDS)
            else:
                job.settled.set()
                return

    async def _forget_oldest(self) -> None:
        # One at a time: two that begin together would find the same jobs.
        async with self._forgetting:
            while (surplus := self._kept - self._config.runner.max_jobs) > 0:
                if not await self._forget(min(surplus, FORGOTTEN_AT_ONCE)):
                    return

    async def _forget(self, count: int) -> bool:
        """Forget the oldest ended jobs; False when there is none, or it cannot be done."""
        try:
            oldest = await self._store.oldest_ended(count)
            # The files go first: a crash in between leaves a job without a log, not a log for ever.
            for record in oldest:
                for stream in STREAMS:
                    try:
                        self._log_path(record, stream).unlink(missing_ok=True)
                    except OSError as error:
                        events.log("error", message=f"an old log stays: {error}")
            await self._store.delete(oldest)
        except StoreError as error:
            events.log("error", message=f"old jobs cannot be deleted: {error}")
            return False
        self._kept -= len(oldest)
        return bool(oldest)

    # -- taking up the history

    async def _record_interruption(self, record: JobRecord) -> None:
        now = now_ms()
        mark_ended(record, "failed", NO_EXIT_CODE, max(0, now - (record.started_ms or now)))
        limits = self._config.runner
        for stream in STREAMS:
            try:
                size, preview = read_tail(self._log_path(record, stream), limits.preview_max_bytes)
            except OSError as error:
                size, preview = 0, f"the log cannot be read: {error}\n"
            setattr(record, f"{stream}_size", size)
            setattr(record, f"{stream}_truncated", size >= limits.max_log_bytes_per_stream)
            setattr(record, f"{stream}_preview", preview)
        events.log_job_end(record)
        await self._store.save(record)

    async def _take_up(self, record: JobRecord) -> None:
        """Queue a job again, unless the configuration has changed and would refuse it now."""
        try:
            script, _ = self._rules.check(record.script_id, list(record.args))
        except Refused as refusal:
            mark_ended(record, "failed", NO_EXIT_CODE, 0)
            record.stderr_preview = (
                "not started after a restart, the configuration does not allow it any more: "
                f"{refusal}\n"
            )
            events.log_job_end(record)
            await self._store.save(record)
            return
        job = LiveJob(record, script)
        self._live[record.job_id] = job
        self._queue[record.job_id] = job
