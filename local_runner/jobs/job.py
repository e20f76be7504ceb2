"""A job while it lives: its record, its process, its logs."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Literal

from local_runner import log
from local_runner.config import RunnerConfig, ScriptConfig
from local_runner.jobs.record import JobRecord, Status, Stream
from local_runner.processes.launcher import (
    CannotStart,
    Detached,
    Exit,
    Launch,
    Launcher,
    LostExit,
    Process,
    Workers,
)
from local_runner.processes.shortage import OutOfResources, is_shortage
from local_runner.storage.disk import Disk
from local_runner.storage.history import StoreError
from local_runner.storage.job_logs import JobLogs

NO_EXIT_CODE = -1
"""What the wire has as the code of a job that ended without an exit code."""

EndedBy = Literal[Status.CANCELED, Status.TIMED_OUT]
OnLoss = Callable[[JobRecord, Stream], object]


class LiveJob:
    """A job that has not ended, or whose end is not recorded yet.

    Attributes:
        record: The job as it is, or will be, in the history.
        script: The script, as the configuration was when the job was accepted.
        settled: Set when the job has ended, or when the runner stops before it was started or
            while it goes on elsewhere.
        recorded: Set when its end is in the history.
        refused: Whether it could not be recorded when it came; it is not run then.
        failure: Why the job failed through no fault of its script; becomes the end of its preview.
        accepted_as: The status at the time it was accepted; it may have ended before anybody is
            told.
        on_loss: Called if something of a stream came too late for its log, which may be long after
            the end.
    """

    on_loss: OnLoss

    def __init__(self, record: JobRecord, script: ScriptConfig) -> None:
        """Begin with a job that is queued."""
        self.record = record
        self.settled = asyncio.Event()
        self.recorded = asyncio.Event()
        self.refused = False
        self.accepted_as = record.status
        self.script = script
        self._begun = time.monotonic()
        self._process: Process | None = None
        self._logs: JobLogs | None = None
        self._ended_by: EndedBy | None = None
        self._start_error: Exception | None = None
        self._duration_ms: int | None = None
        self.failure: str | None = None

    @property
    def has_process(self) -> bool:
        """Whether its script was started, here or elsewhere."""
        return self._process is not None

    @property
    def is_told_to_end(self) -> bool:
        """Whether it will not be started, or its script was told to end."""
        return self._ended_by is not None

    def snapshot(self) -> JobRecord:
        """The job as it is now, without previews until it has ended."""
        if self._logs is not None and not self.record.has_ended:
            self._take_sizes(self._logs)
        return self.record

    async def preview(self) -> JobRecord:
        """The job as it is now, with the previews as far as the output has come."""
        if self._logs is not None and not self.record.has_ended:
            await self._take_output(self._logs)
        return self.record

    async def flush(self) -> None:
        """Wait until what the script printed by now is in the files of its logs."""
        if self._logs is not None:
            await self._logs.flush()

    def start(self, limits: RunnerConfig, launcher: Launcher, disk: Disk) -> None:
        """Start the script, unless the job was told to end before.

        Why it cannot be started is kept until `run`, which ends the job for it.

        Raises:
            OutOfResources: If it cannot be started just now; nothing is left of the attempt.
        """
        self._begun = time.monotonic()
        if self._ended_by is not None:
            return
        logs = JobLogs(self.record.job_id, limits, disk)
        try:
            logs.prepare()
            self._logs = logs
            self._hold(launcher.start(self._launch(logs, limits)), logs)
        except OutOfResources:
            self._logs = None
            raise
        except Exception as error:
            if isinstance(error, OSError) and is_shortage(error):
                raise OutOfResources(error) from error
            # Whatever it is, the job must end.
            self._start_error = error

    async def resume(self, limits: RunnerConfig, workers: Workers, disk: Disk) -> None:
        """Go on with a script that another machine has been running meanwhile.

        Why that cannot be done is kept until `run`, which ends the job for it.
        """
        record = self.record
        begun_ms = record.started_ms or record.created_ms
        self._begun = time.monotonic() - max(0, now_ms() - begun_ms) / 1000
        logs = JobLogs(record.job_id, limits, disk)
        try:
            await logs.take_up()
            self._logs = logs
            self._hold(workers.resume(self._launch(logs, limits), record.worker or ""), logs)
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
            if self._logs is not None:
                await self._logs.close()
            raise
        except Exception as error:
            status, code = Status.FAILED, NO_EXIT_CODE
            self._note_failure(error)
        if self._logs is not None:
            await self._logs.close()
            if self._logs.failure is not None:
                status, code = Status.FAILED, NO_EXIT_CODE
                self.failure = f"the log could not be written: {self._logs.failure.strerror}"
        await self._finish(status, code)

    def end_process(self, ended_by: EndedBy) -> bool:
        """Tell the script to end, for the first of the reasons that come while it runs.

        Returns:
            Whether it was told, or will not be started; False if it has ended by itself.
        """
        if self._process is not None and not self._process.terminate():
            return False
        self._ended_by = self._ended_by or ended_by
        return True

    def kill(self) -> None:
        """End the script at once."""
        self.end_process(Status.CANCELED)
        if self._process is not None:
            self._process.kill()

    async def _finish(self, status: Status, code: int) -> None:
        """Put the end of the job into the record, all at once: it may be looked at."""
        duration_ms = self._duration_ms
        if duration_ms is None:
            duration_ms = round((time.monotonic() - self._begun) * 1000)
        logs = self._logs
        previews = await logs.previews(ended=True) if logs is not None else None
        mark_ended(self.record, status, code, duration_ms)
        if self._duration_ms is not None and self.record.started_ms is not None:
            # Another machine says it, which may have waited long to be heard.
            self.record.ended_ms = self.record.started_ms + duration_ms
        if logs is not None and previews is not None:
            self._take_sizes(logs)
            self.record.stdout_preview, self.record.stderr_preview = previews
        if self.failure is not None:
            self.record.stderr_preview = f"{self.record.stderr_preview}\n{self.failure}\n".lstrip(
                "\n"
            )

    def _launch(self, logs: JobLogs, limits: RunnerConfig) -> Launch:
        record = self.record
        return Launch(record.job_id, self.script, record.args, logs, limits.kill_grace_seconds)

    def _hold(self, process: Process, logs: JobLogs) -> None:
        self._process = process
        logs.on_failure = process.terminate
        # Not a method: what holds itself is freed by the garbage collector alone, at ten times the
        # cost.
        logs.on_loss = functools.partial(_note_loss, self.record, self.on_loss)

    async def _outcome(self) -> tuple[Status, int]:
        """Wait for the end of the script; returns the status and the code."""
        try:
            if self._start_error is not None:
                raise self._taken_start_error()
            if self._process is None:
                return Status.CANCELED, NO_EXIT_CODE
            ended = await self._in_time(self._process)
        except LostExit as error:
            if self._ended_by is None:
                self.failure = str(error)
            return self._ended_by or Status.FAILED, NO_EXIT_CODE
        except CannotStart as error:
            assert self._logs is not None
            self._logs.write("stderr", f"{error}\n".encode("utf-8", "replace"))
            return Status.FAILED, NO_EXIT_CODE if error.code is None else error.code
        if ended.status is not None:
            self.failure, self._duration_ms = ended.failure, ended.duration_ms
            return ended.status, ended.code
        if self._ended_by is not None:
            return self._ended_by, NO_EXIT_CODE
        return (Status.FAILED if ended.code else Status.SUCCEEDED), ended.code

    def _taken_start_error(self) -> Exception:
        """What was kept; it must not be held any longer, as its traceback holds the job."""
        error, self._start_error = self._start_error, None
        assert error is not None
        return error

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
        self.failure = f"the job {what}: {error}"
        if not isinstance(error, OSError | StoreError):
            log.failure(f"{self.record.job_id} {what}")
        if self._process is not None:
            self._process.abandon()

    def _take_sizes(self, logs: JobLogs) -> None:
        record, stdout, stderr = self.record, logs.streams["stdout"], logs.streams["stderr"]
        record.stdout_size, record.stderr_size = stdout.size, stderr.size
        record.stdout_truncated, record.stderr_truncated = stdout.truncated, stderr.truncated

    async def _take_output(self, logs: JobLogs) -> None:
        """Put what the logs hold by now into the record, unless the job ends meanwhile."""
        self._take_sizes(logs)
        previews = await logs.previews(ended=False)
        if not self.record.has_ended:
            self.record.stdout_preview, self.record.stderr_preview = previews


def _note_loss(record: JobRecord, on_loss: OnLoss, stream: Stream) -> None:
    setattr(record, f"{stream}_truncated", True)
    on_loss(record, stream)


def mark_ended(record: JobRecord, status: Status, code: int, duration_ms: int) -> None:
    """Put an end, now, into the record."""
    record.status = status
    record.script = None
    record.code = code
    record.ended_ms = now_ms()
    record.duration_ms = duration_ms


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
