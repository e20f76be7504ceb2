"""A job while it lives: its record, its process, its logs."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from local_runner.config import ScriptConfig
from local_runner.logs import LogWriter
from local_runner.process import ScriptProcess
from local_runner.store import JobRecord

NO_EXIT_CODE = -1
"""What the wire has as the code of a job that ended without an exit code."""

EndedBy = Literal["canceled", "timed_out"]


class LiveJob:
    """A job that has not ended, or whose end is not recorded yet."""

    def __init__(self, record: JobRecord, script: ScriptConfig) -> None:
        """Begin with a job that is queued."""
        self.record = record
        self.script = script
        self.settled = asyncio.Event()
        """Set when the job has ended, or when the runner stops before it was started."""
        self.ended_by: EndedBy | None = None
        self.accepted_as = record.status
        """The status at the time it was accepted; it may have ended before anybody is told."""
        self.failure: str | None = None
        """Why the job failed through no fault of its script; becomes the end of its preview."""
        self.process: ScriptProcess | None = None
        self.logs: tuple[LogWriter, LogWriter] | None = None

    def snapshot(self) -> JobRecord:
        """The job as it is now, with the previews as far as the output has come."""
        if self.logs is not None and not self.record.has_ended:
            take_output(self.record, self.logs)
        return self.record

    def end_process(self, ended_by: EndedBy) -> None:
        """Tell the script to end, for the first of the reasons that come while it runs."""
        if self.process is None or self.process.terminate():
            self.ended_by = self.ended_by or ended_by


def take_output(record: JobRecord, logs: tuple[LogWriter, LogWriter]) -> None:
    """Put what the logs hold by now into the record."""
    stdout, stderr = logs
    record.stdout_size, record.stderr_size = stdout.size, stderr.size
    record.stdout_truncated, record.stderr_truncated = stdout.truncated, stderr.truncated
    record.stdout_preview = stdout.preview(ended=record.has_ended)
    record.stderr_preview = stderr.preview(ended=record.has_ended)


def mark_ended(record: JobRecord, status: str, code: int, duration_ms: int) -> None:
    """Put an end, now, into the record."""
    record.status = status
    record.code = code
    record.ended_ms = now_ms()
    record.duration_ms = duration_ms


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
