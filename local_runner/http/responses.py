"""Answers on the wire, built from the generated models so that they cannot drift from them."""

from __future__ import annotations

import datetime
import json
from typing import Protocol

from starlette.responses import Response

from generated_client.models import AcceptedJob, Error, ErrorDetail, Job, LogPage
from local_runner.jobs.job import LiveJob
from local_runner.jobs.record import JobRecord
from local_runner.storage.job_logs import Page


class WireModel(Protocol):
    """A model of `generated_client`."""

    def to_dict(self) -> dict[str, object]:
        """The JSON object of the model."""


class WireTime(datetime.datetime):
    """A moment that the generated models write as the wire does: UTC, milliseconds, `Z`."""

    def isoformat(self, sep: str = "T", timespec: str = "milliseconds") -> str:
        """`2026-11-23T18:38:06.738Z`."""
        return super().isoformat(sep, timespec).replace("+00:00", "Z")


def _moment(milliseconds: int) -> WireTime:
    return WireTime.fromtimestamp(milliseconds / 1000, datetime.UTC)


def _moment_or_none(milliseconds: int | None) -> WireTime | None:
    return None if milliseconds is None else _moment(milliseconds)


def job_answer(record: JobRecord) -> Job:
    """A job as `getJob`, `cancelJob` and a sync `runScript` answer it."""
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


def accepted_answer(job: LiveJob) -> AcceptedJob:
    """A job as an async `runScript` answers it."""
    return AcceptedJob(ok=True, job_id=job.record.job_id, status=job.accepted_as)


def page_answer(record: JobRecord, stream: str, page: Page) -> LogPage:
    """A page as `getJobLogs` answers it."""
    return LogPage(
        ok=True,
        job_id=record.job_id,
        stream=stream,
        offset=page.offset,
        next_offset=page.next_offset,
        total_size=page.total_size,
        truncated=record.stdout_truncated if stream == "stdout" else record.stderr_truncated,
        data=page.data,
    )


def error_answer(code: str, message: str) -> Error:
    """A refusal: a code for machines, a sentence that says what to do for people."""
    return Error(ok=False, error=ErrorDetail(code=code, message=message))


class JsonResponse(Response):
    """A model as an HTTP answer, with the content type of the wire."""

    media_type = "application/json; charset=utf-8"

    def __init__(
        self, model: WireModel, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Write `model` as compact JSON."""
        text = json.dumps(model.to_dict(), ensure_ascii=False, separators=(",", ":"))
        # A message may quote a lone surrogate of the request, which UTF-8 has no form for.
        super().__init__(text.encode("utf-8", "replace"), status, headers)
