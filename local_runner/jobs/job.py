"""A job while it lives: its record, its process, its logs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from local_runner import log
from local_runner.config import RunnerConfig, ScriptConfig
from local_runner.jobs.record import STREAMS, JobRecord, Status
from local_runner.processes.launcher import (
    CannotStart,
    Detached,
    Exit,
    Launch,
    Launcher,
    Process,
    Workers,
)
from local_runner.processes.shortage import OutOfResources, is_shortage
from local_runner.storage.history import StoreError
from local_runner.storage.job_logs import LogWriter, read_tail

NO_EXIT_CODE = -1
"""What the wire has as the code of a job that ended without an exit code."""

EndedBy = Literal[Status.CANCELED, Status.TIMED_OUT]


class LiveJob:
    """A job that has not ended, or whose end is not recorded yet.

    Attributes:
        record: The job as it is, or will be, in the history.
        script: The script, as the configuration was when the job was accepted.
        settled: Set when the job has ended, or when the runner stops before it was started or
            while it goes on elsewhere.
        recorded: Set when its end is in the history.
        accepted_as: The status at the time it was accepted; it may have ended before anybody is
            told.
    """

    def __init__(self, record: JobRecord, script: ScriptConfig) -> None:
        """Begin with a job that is queued."""
        self.record = record
        self.settled = asyncio.Event()
        self.recorded = asyncio.Event()
        self.accepted_as = record.status
        self.script = script
        self._begun = time.monotonic()
        self._process: Process | None = None
        self._logs: tuple[LogWriter, ...] = ()
        self._ended_by: EndedBy | None = None
        self._start_error: Exception | None = None
        self._failure: str | None = None
        """Why the job failed through no fault of its script; becomes the end of its preview."""

    @property
    def has_process(self) -> bool:
        """Whether its script was started, here or elsewhere."""
        return self._process is not None

    def snapshot(self) -> JobRecord:
        """The job as it is now, with the previews as far as the output has come."""
        if not self.record.has_ended:
            self._take_output()
        return self.record

    def start(self, limits: RunnerConfig, launcher: Launcher) -> None:
        """Start the script, unless the job was told to end before.

        Why it cannot be started is kept until `run`, which ends the job for it.

        Raises:
            OutOfResources: If it cannot be started just now; nothing is left of the attempt.
        """
        self._begun = time.monotonic()
        if self._ended_by is not None:
            return
        record, grace = self.record, limits.kill_grace_seconds
        try:
            self._logs = logs = _open_logs(record, limits, LogWriter)
            launch = Launch(record.job_id, self.script, record.args, logs, grace)
            self._process = launcher.start(launch)
        except OutOfResources:
            _discard(self._logs)
            self._logs = ()
            raise
        except Exception as error:
            # Whatever it is, the job must end.
            self._start_error = error

    def resume(self, limits: RunnerConfig, workers: Workers) -> None:
        """Go on with a script that another machine has been running meanwhile.

        Why that cannot be done is kept until `run`, which ends the job for it.
        """
        record = self.record
        begun_ms = record.started_ms or record.created_ms
        self._begun = time.monotonic() - max(0, now_ms() - begun_ms) / 1000
        try:
            self._logs = logs = _open_logs(record, limits, LogWriter.reopen)
            grace = limits.kill_grace_seconds
            launch = Launch(record.job_id, self.script, record.args, logs, grace)
            self._process = workers.resume(launch, record.worker or "")
        except Exception as error:
            self._start_error = error

    def fail_to_start(self, error: StoreError) -> None:
        """Have the job end without a start."""
        self._begun = time.monotonic()
        self._start_error = error

    async def run(self) -> None:
        """See the script, or what is kept of its failed start, to the end of the job.

        Raises:
            Detached: If it goes on elsewhere; the job has not ended then.
        """
        try:
            status, code = await self._outcome()
        except Detached:
            for writer in self._logs:
                writer.close()
            raise
        except Exception as error:
            status, code = Status.FAILED, NO_EXIT_CODE
            self._note_failure(error)
        for writer in self._logs:
            try:
                writer.close()
            except OSError as error:
                status, code = Status.FAILED, NO_EXIT_CODE
                self._failure = f"the log could not be written: {error.strerror}"
        self.finish(status, code, round((time.monotonic() - self._begun) * 1000))

    def end_process(self, ended_by: EndedBy) -> None:
        """Tell the script to end, for the first of the reasons that come while it runs."""
        if self._process is None or self._process.terminate():
            self._ended_by = self._ended_by or ended_by

    def kill(self) -> None:
        """End the script at once."""
        self.end_process(Status.CANCELED)
        if self._process is not None:
            self._process.kill()

    def finish(self, status: Status, code: int, duration_ms: int = 0) -> None:
        """Put the end of the job, now, into the record."""
        mark_ended(self.record, status, code, duration_ms)
        self._take_output()
        if self._failure is not None:
            self.record.stderr_preview = f"{self.record.stderr_preview}\n{self._failure}\n".lstrip(
                "\n"
            )

    async def _outcome(self) -> tuple[Status, int]:
        """Wait for the end of the script; returns the status and the code."""
        try:
            if self._start_error is not None:
                raise self._start_error
            if self._process is None:
                return Status.CANCELED, NO_EXIT_CODE
            ended = await self._in_time(self._process)
        except CannotStart as error:
            self._logs[1].write(f"{error}\n".encode("utf-8", "replace"))
            return Status.FAILED, NO_EXIT_CODE if error.code is None else error.code
        if self._process.output_failure is not None:
            self._failure = f"the log could not be written: {self._process.output_failure.strerror}"
            return Status.FAILED, NO_EXIT_CODE
        if ended.status is not None:
            self._failure = ended.failure
            return ended.status, ended.code
        if self._ended_by is not None:
            return self._ended_by, NO_EXIT_CODE
        return (Status.FAILED if ended.code else Status.SUCCEEDED), ended.code

    async def _in_time(self, process: Process) -> Exit:
        """Wait for the end of a process, and end it when its time is over."""
        if process.keeps_time or not self.script.timeout_sec:
            return await process.wait()
        timeout = asyncio.get_running_loop().call_later(
            self.script.timeout_sec, self.end_process, Status.TIMED_OUT
        )
        try:
            return await process.wait()
        finally:
            timeout.cancel()

    def _note_failure(self, error: Exception) -> None:
        """Note why the runner could not start the script, or lost hold of it."""
        what = "could not be started" if self._process is None else "failed in the runner"
        self._failure = f"the job {what}: {error}"
        if not isinstance(error, OSError | StoreError):
            log.failure(f"{self.record.job_id} {what}")
        if self._process is not None:
            self._process.abandon()

    def _take_output(self) -> None:
        """Put what the logs hold by now into the record."""
        if not self._logs:
            return
        record, (stdout, stderr) = self.record, self._logs
        record.stdout_size, record.stderr_size = stdout.size, stderr.size
        record.stdout_truncated, record.stderr_truncated = stdout.truncated, stderr.truncated
        record.stdout_preview = stdout.preview(ended=record.has_ended)
        record.stderr_preview = stderr.preview(ended=record.has_ended)


def _open_logs(
    record: JobRecord, limits: RunnerConfig, open_log: Callable[[Path, int, int], LogWriter]
) -> tuple[LogWriter, LogWriter]:
    folder = Path(limits.logs_dir)
    bounds = limits.max_log_bytes_per_stream, limits.preview_max_bytes
    opened: list[LogWriter] = []
    try:
        for stream in STREAMS:
            opened.append(open_log(folder / record.log_name(stream), *bounds))
    except OSError as error:
        _discard(opened)
        if is_shortage(error):
            raise OutOfResources(error) from error
        raise
    stdout, stderr = opened
    return stdout, stderr


def _discard(logs: Iterable[LogWriter]) -> None:
    for writer in logs:
        writer.discard()


def mark_ended(record: JobRecord, status: Status, code: int, duration_ms: int) -> None:
    """Put an end, now, into the record."""
    record.status = status
    record.code = code
    record.ended_ms = now_ms()
    record.duration_ms = duration_ms


def mark_interrupted(record: JobRecord, limits: RunnerConfig) -> None:
    """Put the end of a job that ran when its runner ended into the record, with what it printed."""
    now = now_ms()
    mark_ended(record, Status.FAILED, NO_EXIT_CODE, max(0, now - (record.started_ms or now)))
    for stream in STREAMS:
        path = Path(limits.logs_dir, record.log_name(stream))
        try:
            size, preview = read_tail(path, limits.preview_max_bytes)
        except OSError as error:
            size, preview = 0, f"the log cannot be read: {error}\n"
        setattr(record, f"{stream}_size", size)
        setattr(record, f"{stream}_truncated", size >= limits.max_log_bytes_per_stream)
        setattr(record, f"{stream}_preview", preview)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
