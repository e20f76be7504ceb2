"""Models on the wire, built from the generated models so that they cannot drift from them."""

from __future__ import annotations

import datetime

from generated_client.models import AcceptedJob, Job, LogPage
from local_runner.jobs.job import LiveJob
from local_runner.jobs.record import JobRecord
from local_runner.storage.log_pages import Page


class WireTime(datetime.datetime):
    """A moment that the generated models write as the wire does: UTC, milliseconds, `Z`."""

    def isoformat(self, sep: str = "T", timespec: str = "milliseconds") -> str:
        """`2026-11-23T18:38:06.738Z`."""
        return super().isoformat(sep, timespec).replace("+00:00", "Z")


def _moment(milliseconds: int) -> WireTime:
    return WireTime.fromtimestamp(milliseconds / 1000, datetime.UTC)


def _moment_or_none(milliseconds: int | None) -> WireTime | None:
    return None if milliseconds is None else _moment(milliseconds)


def job_model(record: JobRecord) -> Job:
    """A job as `getJob`, `cancelJob` and a sync `runScript` return it."""
    return Job(
        ok=True,
        job_id=record.job_id,
        script_id=record.script_id,
        status=record.status,
        code=record.code,
        started_at=_moment_or_none(record.started_ms),
        ended_at=_moment_or_none(record.ended_ms),
        duration_ms=record.duration_ms,
        created_at=_moment(record.created_ms),
        mode=record.mode,
        stdout_ref=record.log_name("stdout"),
        stderr_ref=record.log_name("stderr"),
        stdout_size=record.stdout_size,
        stderr_size=record.stderr_size,
        stdout_truncated=record.stdout_truncated,
        stderr_truncated=record.stderr_truncated,
        stdout_preview=record.stdout_preview,
        stderr_preview=record.stderr_preview,
    )


def accepted_job(job: LiveJob) -> AcceptedJob:
    """A job as an async `runScript` returns it."""
    return AcceptedJob(ok=True, job_id=job.record.job_id, status=job.accepted_as)


def log_page(record: JobRecord, stream: str, page: Page, *, had_ended: bool) -> LogPage:
    """A page as `getJobLogs` returns it.

    Args:
        record: The job.
        stream: Which of its logs.
        page: The page.
        had_ended: Whether the log was complete when the page was read.
    """
    if stream == "stdout":
        size, truncated = record.stdout_size, record.stdout_truncated
    else:
        size, truncated = record.stderr_size, record.stderr_truncated
    # Somebody has deleted or cut the file.
    is_short = had_ended and page.total_size < size
    return LogPage(
        ok=True,
        job_id=record.job_id,
        stream=stream,
        offset=page.offset,
        next_offset=page.next_offset,
        total_size=page.total_size,
        truncated=truncated or is_short,
        data=page.data,
    )
