from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Job")


@_attrs_define
class Job:
    """A job. Every field is always there."""

    ok: bool
    """ Always true. """
    job_id: str
    """ Names the job in later requests. """
    script_id: str
    """ The id of the script that the job runs. """
    status: str
    """ `queued`, `running`, `succeeded`, `failed`, `timed_out` or `canceled`. A word not in this list
    is a status added later.
     """
    code: int | None
    """ The exit code; null until the job has ended. 127 if the script file is missing, 126
    if it may not be executed, 137 after SIGKILL. **-1 is not an exit code**: the job timed
    out, was cancelled, could not start, or the service ended while it ran.
     """
    started_at: datetime.datetime | None
    """ When the script was started; null while queued, and for a job cancelled in the queue. """
    ended_at: datetime.datetime | None
    """ When the job ended; null until then. """
    duration_ms: int | None
    """ Run time in milliseconds; null until the job has ended. """
    created_at: datetime.datetime
    """ When the job was accepted. """
    mode: str
    """ How the job was run, `sync` or `async`. """
    stdout_ref: str
    """ The name the server gives the log of stdout; for people, not for requests. """
    stderr_ref: str
    """ The name the server gives the log of stderr; for people, not for requests. """
    stdout_size: int
    """ Bytes of stdout in the log; grows while the job runs. """
    stderr_size: int
    """ Bytes of stderr in the log; grows while the job runs. """
    stdout_truncated: bool
    """ Not all of stdout is in its log, mostly because that reached `maxLogBytesPerStream`. """
    stderr_truncated: bool
    """ Not all of stderr is in its log, mostly because that reached `maxLogBytesPerStream`. """
    stdout_preview: str
    """ The last `previewMaxBytes` (4096 by default) bytes of stdout, decoded as UTF-8 with U+FFFD
    for what cannot be. It is the whole of stdout only when its UTF-8 length equals
    `stdoutSize`. May be empty until the job has ended. When a log was truncated the preview
    is of what the script wrote last, which the log no longer holds.
     """
    stderr_preview: str
    """ The same for stderr. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        ok = self.ok

        job_id = self.job_id

        script_id = self.script_id

        status = self.status

        code: int | None
        code = self.code

        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        ended_at: None | str
        if isinstance(self.ended_at, datetime.datetime):
            ended_at = self.ended_at.isoformat()
        else:
            ended_at = self.ended_at

        duration_ms: int | None
        duration_ms = self.duration_ms

        created_at = self.created_at.isoformat()

        mode = self.mode

        stdout_ref = self.stdout_ref

        stderr_ref = self.stderr_ref

        stdout_size = self.stdout_size

        stderr_size = self.stderr_size

        stdout_truncated = self.stdout_truncated

        stderr_truncated = self.stderr_truncated

        stdout_preview = self.stdout_preview

        stderr_preview = self.stderr_preview

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "ok": ok,
                "jobId": job_id,
                "scriptId": script_id,
                "status": status,
                "code": code,
                "startedAt": started_at,
                "endedAt": ended_at,
                "durationMs": duration_ms,
                "createdAt": created_at,
                "mode": mode,
                "stdoutRef": stdout_ref,
                "stderrRef": stderr_ref,
                "stdoutSize": stdout_size,
                "stderrSize": stderr_size,
                "stdoutTruncated": stdout_truncated,
                "stderrTruncated": stderr_truncated,
                "stdoutPreview": stdout_preview,
                "stderrPreview": stderr_preview,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        ok = d.pop("ok")

        job_id = d.pop("jobId")

        script_id = d.pop("scriptId")

        status = d.pop("status")

        def _parse_code(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        code = _parse_code(d.pop("code"))

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("startedAt"))

        def _parse_ended_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                ended_at_type_0 = datetime.datetime.fromisoformat(data)

                return ended_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        ended_at = _parse_ended_at(d.pop("endedAt"))

        def _parse_duration_ms(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        duration_ms = _parse_duration_ms(d.pop("durationMs"))

        created_at = datetime.datetime.fromisoformat(d.pop("createdAt"))

        mode = d.pop("mode")

        stdout_ref = d.pop("stdoutRef")

        stderr_ref = d.pop("stderrRef")

        stdout_size = d.pop("stdoutSize")

        stderr_size = d.pop("stderrSize")

        stdout_truncated = d.pop("stdoutTruncated")

        stderr_truncated = d.pop("stderrTruncated")

        stdout_preview = d.pop("stdoutPreview")

        stderr_preview = d.pop("stderrPreview")

        job = cls(
            ok=ok,
            job_id=job_id,
            script_id=script_id,
            status=status,
            code=code,
            started_at=started_at,
            ended_at=ended_at,
            duration_ms=duration_ms,
            created_at=created_at,
            mode=mode,
            stdout_ref=stdout_ref,
            stderr_ref=stderr_ref,
            stdout_size=stdout_size,
            stderr_size=stderr_size,
            stdout_truncated=stdout_truncated,
            stderr_truncated=stderr_truncated,
            stdout_preview=stdout_preview,
            stderr_preview=stderr_preview,
        )

        job.additional_properties = d
        return job

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
