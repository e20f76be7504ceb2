"""The words of the API for the state of a job, and whether it has ended."""

from __future__ import annotations

import enum

from generated_client.models import Job


class Status(enum.StrEnum):
    """The words in use today; a word added tomorrow is still a valid response."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"


LIVE = frozenset({Status.QUEUED, Status.RUNNING})
"""The statuses of a job that has not ended."""

ENDED = frozenset(Status) - LIVE
"""The statuses of a job that has ended."""


def has_ended(job: Job) -> bool:
    """Whether a job has ended; one of a status not known here has when it has an end."""
    return job.status in ENDED or (job.status not in LIVE and job.ended_at is not None)
