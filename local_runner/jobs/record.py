"""A job as the history keeps it."""

from __future__ import annotations

import dataclasses
from typing import Literal

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")

LIVE_STATUSES = ("queued", "running")
"""The statuses of a job that has not ended; every other one is terminal."""

STATUSES = (*LIVE_STATUSES, "succeeded", "failed", "timed_out", "canceled")


@dataclasses.dataclass
class JobRecord:
    """A job as the history keeps it. Times are milliseconds since the epoch, sizes bytes."""

    seq: int
    job_id: str
    script_id: str
    args: list[str]
    mode: str
    status: str
    created_ms: int
    code: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    duration_ms: int | None = None
    stdout_size: int = 0
    stderr_size: int = 0
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    stdout_preview: str = ""
    stderr_preview: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the status is terminal."""
        return self.status not in LIVE_STATUSES

    def log_name(self, stream: Stream) -> str:
        """The name of the log file of a stream."""
        return log_name(self.job_id, stream)


def log_name(job_id: str, stream: Stream) -> str:
    """The name of the log file of a stream of a job."""
    return f"{job_id}.{stream}.log"
