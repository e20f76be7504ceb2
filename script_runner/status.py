"""The words of the product for the words of the wire, and what they say of a job."""

from __future__ import annotations

from generated_client.models import Job

STATUS_OF_WIRE = {
    "queued": "queued",
    "running": "running",
    "succeeded": "completed",
    "failed": "failed",
    "timed_out": "failed",
    "canceled": "cancelled",
}
"""The status of the product for each status of the wire."""

LIVE_STATUSES = frozenset({"queued", "running"})
"""The statuses of a job that has not ended."""

TERMINAL_STATUSES = frozenset(STATUS_OF_WIRE.values()) - LIVE_STATUSES
"""The statuses of a job that has ended."""


def status_of(wire_status: str) -> str:
    """The product's word for a status of the wire; a word not known here stays as it is."""
    return STATUS_OF_WIRE.get(wire_status, wire_status)


def has_ended(job: Job) -> bool:
    """Whether a job has ended; a status not known here counts as ended when the job has an end."""
    status = status_of(job.status)
    return status in TERMINAL_STATUSES or (status not in LIVE_STATUSES and job.ended_at is not None)


def exit_code_of(job: Job) -> int | None:
    """The exit code of a completed or failed job, -1 where it ended without one; else None."""
    return job.code if status_of(job.status) in ("completed", "failed") else None


def truncated_streams(job: Job) -> list[str]:
    """The streams of a job whose log was full, so that the runner threw the rest away."""
    cut = {"stdout": job.stdout_truncated, "stderr": job.stderr_truncated}
    return [stream for stream, is_cut in cut.items() if is_cut]


def describe_cancel(job: Job) -> tuple[bool, str]:
    """What came of a cancel.

    Args:
        job: The answer to `cancelJob`.

    Returns:
        Whether the job is or will be cancelled, and a sentence that says which.
    """
    status = status_of(job.status)
    if status == "cancelled":
        return True, f"Job {job.job_id} is cancelled."
    if has_ended(job):
        return False, f"Job {job.job_id} had already ended: {status}."
    return True, (
        f"Job {job.job_id} was told to end (SIGTERM); it is {status} until its script has ended."
    )
