"""The words of the product for those of the API, and what they say of a job."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from generated_client.models import Job
from script_runner._explain import Hints
from script_runner._status import Status, has_ended
from script_runner.logs import STREAMS, Stream, is_short, output_of, reason_in_preview

BLOCK_HINTS = Hints(
    url="script_runner_url",
    long_script="use run-script-async and wait-for-job",
    go_on=(
        "wait again with a larger timeout_seconds, look at it with get-job-status, or end it with "
        "cancel-job"
    ),
    token="Keep http://any:TOKEN@HOST:PORT, with the runner's token, as a secret of OOMOL.",
)
"""What errors of blocks tell their reader to use."""

STATUS_OF_WIRE = {
    Status.QUEUED: "queued",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.TIMED_OUT: "failed",
    Status.CANCELED: "cancelled",
}
"""The status of the product for each status of the API."""


def status_of(job: Job) -> str:
    """The product's word for the status of a job; a word not known here stays as it is."""
    return next((word for wire, word in STATUS_OF_WIRE.items() if wire == job.status), job.status)


def exit_code_of(job: Job) -> int | None:
    """The exit code of a completed or failed job, -1 if it ended without one; else None."""
    return job.code if status_of(job) in ("completed", "failed") else None


def truncated_streams(job: Job, texts: Mapping[Stream, str] = MappingProxyType({})) -> list[Stream]:
    """The streams of a job of which the runner has not kept all.

    Args:
        job: The job, ended.
        texts: The whole logs of those that were read: one may be shorter than the job says.
    """
    return [
        stream
        for stream in STREAMS
        if output_of(job, stream)[2] or (stream in texts and is_short(job, stream, texts[stream]))
    ]


def cancel_result(job: Job) -> tuple[bool, str]:
    """What came of a cancel.

    Args:
        job: The response to `cancelJob`.

    Returns:
        Whether the job is or will be cancelled, and a sentence that says which.
    """
    status = status_of(job)
    if status == "cancelled":
        return True, f"Job {job.job_id} is cancelled."
    if has_ended(job):
        return False, f"Job {job.job_id} had already ended: {status}."
    return True, (
        f"Job {job.job_id} was told to end (SIGTERM); it is {status} until its script has ended."
    )


def with_reason(job: Job, stderr: str) -> str:
    """The stderr of a job, at its end what the runner says of the job only in the preview.

    Args:
        job: The job, ended.
        stderr: The whole of its stderr.
    """
    reason = reason_in_preview(job, stderr)
    if not reason:
        return stderr
    newline = "" if not stderr or stderr.endswith("\n") else "\n"
    return f"{stderr}{newline}{reason}\n"
