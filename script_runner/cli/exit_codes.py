"""What scriptctl ends with, and the sentence that says why if the script has no exit code."""

from __future__ import annotations

import signal

from generated_client.models import Job
from script_runner._status import Status

TIMED_OUT = 124
"""A time limit ended the job or the wait, as `timeout` says it."""

OWN_FAILURE = 125
"""scriptctl could not do what it was told, as `docker run` says it."""

CANCELLED = 128 + signal.SIGINT
"""The job was cancelled, by Ctrl-C or by somebody else."""

PIPE_CLOSED = 128 + 13
"""Nobody reads the output any more; 13 is SIGPIPE, which not every system has."""

MAX_EXIT_CODE = 255


def exit_code_of(job: Job) -> int:
    """What to end with for a job that has ended: the exit code of its script, if it has one."""
    if job.status == Status.TIMED_OUT:
        return TIMED_OUT
    if job.status == Status.CANCELED:
        return CANCELLED
    if job.code is None or job.code < 0:
        return OWN_FAILURE
    # A shell would keep the last eight bits: 256 would be a success.
    return min(job.code, MAX_EXIT_CODE)


def why_without_exit_code(job: Job) -> str | None:
    """Why an ended job has no exit code of its script; None if it has one."""
    if job.status == Status.TIMED_OUT:
        return f"{job.job_id} was ended by the time limit of its script"
    if job.status == Status.CANCELED:
        return f"{job.job_id} was cancelled"
    if exit_code_of(job) != OWN_FAILURE or job.code == OWN_FAILURE:
        return None
    return f"{job.job_id} {job.status} without an exit code: it could not start or was cut off"
