"""Which job runs when, how it ends, and what survives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Coroutine
from pathlib import Path
from typing import Literal

import regress

from local_runner import events
from local_runner.config import Config, Mode, ScriptConfig
from local_runner.logs import LogWriter, Page, read_page, read_tail
from local_runner.process import CannotStart, ScriptProcess, end_processes_of
from local_runner.store import JobRecord, Store, StoreError, Stream

NO_EXIT_CODE = -1
"""What the wire has as the code of a job that ended without an exit code."""

SAVE_RETRY_SECONDS = 1.0
"""How long to wait before trying again to record how a job ended, when the disk is full."""

STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")

EndedBy = Literal["canceled", "timed_out"]


class Refused(Exception):
    """A run that is not accepted.

    Attributes:
        code: The error code of the wire.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(message)
        self.code = code


class Unavailable(Exception):
    """The runner cannot do this now; the message says why and what to do."""


class _LiveJob:
    """A job that has not ended, or whose end is not recorded yet."""

    def __init__(self, record: JobRecord, script: ScriptConfig) -> None:
        self.record = record
        self.script = script
        self.settled = asyncio.Event()
        """Set when the job has ended, or when the runner stops before it was started."""
        self.ended_by: EndedBy | None = None
        self.process: ScriptProcess | None = None
        self.logs: tuple[LogWriter, LogWriter] | None = None

    def snapshot(self) -> JobRecord:
        """The job as it is now, with the previews as far as the output has come."""
        if self.logs is not None and not self.record.has_ended:
            _take_output(self.record, self.logs)
        return self.record

    def end_process(self, ended_by: EndedBy) -> None:
        """Tell the script to end, for the first of the reasons that come while it runs."""
        if self.process is None or self.process.terminate():
            self.ended_by = self.ended_by or ended_by


def _take_output(record: JobRecord, logs: tuple[LogWriter, LogWriter]) -> None:
    stdout, stderr = logs
    record.stdout_size, record.stderr_size = stdout.size, stderr.size
    record.stdout_truncated, record.stderr_truncated = stdout.truncated, stderr.truncated
    record.stdout_preview = stdout.preview(ended=record.has_ended)
    record.stderr_preview = stderr.preview(ended=record.has_ended)


def _mark_ended(record: JobRecord, status: str, code: int, duration_ms: int) -> None:
    record.status = status
    record.code = code
    record.ended_ms = _now_ms()
    record.duration_ms = duration_ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Runner:
    """Runs jobs: at most `maxConcurrent` at once, the others in the order they came.

    It belongs to one event loop; every method is called there.
    """

    def __init__(self, config: Config, store: Store) -> None:
        """Prepare; `recover` must be called before the first run."""
        self._config = config
        self._store = store
        self._scripts = {script.id: script for script in config.scripts}
        self._patterns = {
            script.id: regress.Regex(script.args.item_pattern) for script in config.scripts
        }
        self._seq = store.last_seq
        self._kept = store.count
        self._live: dict[str, _LiveJob] = {}
        self._queue: OrderedDict[str, _LiveJob] = OrderedDict()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()
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
        self._start_next()

    async def run(self, script_id: object, args: object, mode: object) -> tuple[JobRecord, Mode]:
        """Accept a run; it is on the disk when this returns.

        Args:
            script_id: The `scriptId` of the request, whatever it is.
            args: Its `args`, `[]` when it had none.
            mode: Its `mode`; anything but the two known words counts as none.

        Returns:
            The accepted job, `running` or `queued`, and its mode.

        Raises:
            Refused: If the script is not allow-listed or the arguments are not as it takes them.
            Unavailable: If the runner is stopping.
            StoreError: If the job cannot be recorded; it is not run then.
        """
        script, checked = self._check(script_id, args)
        if self._stopping:
            raise Unavailable("the runner is stopping, the job was not accepted: try again later")
        chosen: Mode
        if mode == "sync" or mode == "async":
            chosen = mode
        else:
            chosen = script.mode or self._config.runner.default_mode
        job = self._new_job(script, checked, chosen)
        has_slot = self._take_slot(job)
        try:
            # Nobody is told of a sync job before it has ended: a crash of the system may lose it.
            await self._store.save(job.record, durable=chosen == "async")
        except StoreError:
            if has_slot:
                self._free_slot()
            raise
        self._kept += 1
        self._live[job.record.job_id] = job
        if has_slot:
            self._spawn(self._run(job))
        else:
            self._queue[job.record.job_id] = job
            self._start_next()
        return job.snapshot(), chosen

    async def ended(self, job_id: str) -> JobRecord:
        """Wait until a job that `run` has just accepted has ended.

        Raises:
            Unavailable: If the runner stops first and the job stays queued.
        """
        job = self._live[job_id]
        await job.settled.wait()
        if not job.record.has_ended:
            raise Unavailable(
                f"the runner is stopping, job {job_id} stays queued and runs when it is back"
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
                await self._end(live, "canceled", NO_EXIT_CODE)
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
        await self._store.close()

    # -- accepting

    def _check(self, script_id: object, args: object) -> tuple[ScriptConfig, list[str]]:
        script = self._scripts.get(script_id) if isinstance(script_id, str) else None
        if script is None:
            raise Refused("SCRIPT_NOT_FOUND", f"script not found: {_shown(script_id)}")
        if not isinstance(args, list):
            raise Refused("INVALID_ARGS", "args must be an array of strings")
        if len(args) > script.args.max_items:
            raise Refused("INVALID_ARGS", f"too many args: max {script.args.max_items}")
        return script, [self._check_arg(script, index, arg) for index, arg in enumerate(args)]

    def _check_arg(self, script: ScriptConfig, index: int, arg: object) -> str:
        if not isinstance(arg, str):
            raise Refused("INVALID_ARGS", f"arg[{index}] must be string")
        if not _is_passable(arg):
            raise Refused("INVALID_ARGS", f"arg[{index}] has a null byte or half a surrogate pair")
        if len(arg.encode("utf-16-le")) // 2 > script.args.item_max_length:
            raise Refused(
                "INVALID_ARGS", f"arg[{index}] too long: max {script.args.item_max_length}"
            )
        if self._patterns[script.id].find(arg) is None:
            raise Refused("INVALID_ARGS", f"arg[{index}] does not match pattern")
        return arg

    def _new_job(self, script: ScriptConfig, args: list[str], mode: Mode) -> _LiveJob:
        self._seq += 1
        now = _now_ms()
        record = JobRecord(
            seq=self._seq,
            job_id=f"job_{now}_{self._seq}",
            script_id=script.id,
            args=args,
            mode=mode,
            status="queued",
            created_ms=now,
        )
        return _LiveJob(record, script)

    # -- running

    def _take_slot(self, job: _LiveJob) -> bool:
        """Make a job `running` when nothing is before it in the queue and a slot is free."""
        if self._queue or self._stopping or self._busy >= self._config.runner.max_concurrent:
            return False
        self._mark_running(job)
        return True

    def _mark_running(self, job: _LiveJob) -> None:
        self._busy += 1
        job.record.status = "running"
        job.record.started_ms = _now_ms()

    def _start_next(self) -> None:
        while (
            self._queue and not self._stopping and self._busy < self._config.runner.max_concurrent
        ):
            _, job = self._queue.popitem(last=False)
            self._mark_running(job)
            self._spawn(self._run_from_queue(job))

    def _spawn(self, run: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _free_slot(self) -> None:
        self._busy -= 1
        self._start_next()

    async def _run_from_queue(self, job: _LiveJob) -> None:
        try:
            # On record before it runs: after a crash a job that may have run is not run again.
            await self._store.save(job.record)
        except StoreError as error:
            await self._end_unstarted(job, error)
        else:
            await self._run(job)

    async def _run(self, job: _LiveJob) -> None:
        begun = time.monotonic()
        try:
            job.logs = self._open_logs(job.record)
        except OSError as error:
            await self._end_unstarted(job, error)
        else:
            status, code = await self._execute(job, job.logs)
            await self._end(job, status, code, round((time.monotonic() - begun) * 1000))
            self._free_slot()

    async def _end_unstarted(self, job: _LiveJob, error: OSError | StoreError) -> None:
        job.record.stderr_preview = f"the job could not be started: {error}\n"
        await self._end(job, "failed", NO_EXIT_CODE)
        self._free_slot()

    async def _execute(self, job: _LiveJob, logs: tuple[LogWriter, LogWriter]) -> tuple[str, int]:
        """Run the script to its end; returns the status and the code."""
        command = [job.script.path, *job.record.args]
        grace = self._config.runner.kill_grace_seconds
        try:
            job.process = ScriptProcess(command, job.record.job_id, logs, grace)
        except CannotStart as error:
            with contextlib.suppress(OSError):
                logs[1].write(f"{error}\n".encode("utf-8", "replace"))
            return "failed", NO_EXIT_CODE if error.code is None else error.code
        if job.ended_by is not None:
            job.process.terminate()
        timeout = None
        if job.script.timeout_sec:
            timeout = asyncio.get_running_loop().call_later(
                job.script.timeout_sec, job.end_process, "timed_out"
            )
        code = await job.process.wait()
        if timeout is not None:
            timeout.cancel()
        if job.process.output_failure is not None:
            reason = f"\nthe log could not be written: {job.process.output_failure.strerror}\n"
            logs[1].add_to_preview(reason.encode())
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

    async def _end(self, job: _LiveJob, status: str, code: int, duration_ms: int = 0) -> None:
        record = job.record
        _mark_ended(record, status, code, duration_ms)
        if job.logs is not None:
            for log in job.logs:
                log.close()
            _take_output(record, job.logs)
        events.log_job_end(record)
        await self._record_end(job)
        del self._live[record.job_id]
        await self._forget_oldest()

    async def _record_end(self, job: _LiveJob) -> None:
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
        surplus = self._kept - self._config.runner.max_jobs
        if surplus <= 0:
            return
        try:
            oldest = await self._store.oldest_ended(surplus)
            # The files go first: a crash in between leaves a job without a log, not a log for ever.
            for record in oldest:
                for stream in STREAMS:
                    self._log_path(record, stream).unlink(missing_ok=True)
            await self._store.delete(oldest)
        except (OSError, StoreError) as error:
            events.log("error", message=f"old jobs cannot be deleted: {error}")
        else:
            self._kept -= len(oldest)

    # -- taking up the history

    async def _record_interruption(self, record: JobRecord) -> None:
        now = _now_ms()
        _mark_ended(record, "failed", NO_EXIT_CODE, max(0, now - (record.started_ms or now)))
        limits = self._config.runner
        for stream in STREAMS:
            size, preview = read_tail(self._log_path(record, stream), limits.preview_max_bytes)
            setattr(record, f"{stream}_size", size)
            setattr(record, f"{stream}_truncated", size >= limits.max_log_bytes_per_stream)
            setattr(record, f"{stream}_preview", preview)
        events.log_job_end(record)
        await self._store.save(record)

    async def _take_up(self, record: JobRecord) -> None:
        """Queue a job again, unless the configuration has changed and would refuse it now."""
        try:
            script, _ = self._check(record.script_id, list(record.args))
        except Refused as refusal:
            _mark_ended(record, "failed", NO_EXIT_CODE, 0)
            record.stderr_preview = f"not allowed any more after a restart: {refusal}\n"
            events.log_job_end(record)
            await self._store.save(record)
            return
        job = _LiveJob(record, script)
        self._live[record.job_id] = job
        self._queue[record.job_id] = job


def _shown(value: object) -> str:
    """A value of a request as a message may quote it."""
    text = value if isinstance(value, str) else "the request has no scriptId that is a string"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _is_passable(arg: str) -> bool:
    """Whether a program can get this as an argument."""
    try:
        return b"\0" not in arg.encode()
    except UnicodeEncodeError:
        return False
