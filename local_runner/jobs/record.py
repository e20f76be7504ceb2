"""A job as the history keeps it."""

from __future__ import annotations

import dataclasses
import enum
from typing import Literal

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class Status(enum.StrEnum):
    """Where a job is, in the words of the wire."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether a job of this status has ended."""
        return self not in (Status.QUEUED, Status.RUNNING)


@dataclasses.dataclass
class JobRecord:
    """A job as the history keeps it. Times are milliseconds since the epoch, sizes bytes.

    Attributes:
        seq: The number of the job; jobs have them in the order they were accepted.
        end_seq: The number of its end; jobs have them in the order they ended, whatever the clock
            did meanwhile. None until it has ended.
        worker: The machine that runs it; None for this one.
        script: While it waits, the configuration of its script when it was accepted; see
            `Allowlist.kept`. None once it has begun.
    """

    seq: int
    job_id: str
    script_id: str
    args: list[str]
    mode: str
    status: Status
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
    end_seq: int | None = None
    worker: str | None = None
    script: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the status is terminal."""
        return self.status.is_terminal

    @property
    def args_size(self) -> int:
        """How many characters its arguments have."""
        return sum(map(len, self.args))

    def log_name(self, stream: Stream) -> str:
        """The name of the log file of a stream."""
        return log_name(self.job_id, stream)


def log_name(job_id: str, stream: Stream) -> str:
    """The name of the log file of a stream of a job."""
    return f"{job_id}.{stream}.log"
