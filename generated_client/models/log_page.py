from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="LogPage")


@_attrs_define
class LogPage:
    """A page of a job's log. Sizes and offsets are bytes."""

    ok: bool
    """ Always true. """
    job_id: str
    """ Names the job in later requests. """
    stream: str
    """ The stream that was read, `stdout` or `stderr`. """
    offset: int
    """ The byte this page begins at. """
    next_offset: int
    """ The byte after this page, where the next one begins; counts raw bytes, whatever `data` lost. """
    total_size: int
    """ Bytes in the log now. """
    truncated: bool
    """ Not all of the stream is in the log, mostly because that reached `maxLogBytesPerStream`. """
    data: str
    """ The bytes from `offset` to `nextOffset`, decoded alone as UTF-8 with U+FFFD for what cannot be. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        ok = self.ok

        job_id = self.job_id

        stream = self.stream

        offset = self.offset

        next_offset = self.next_offset

        total_size = self.total_size

        truncated = self.truncated

        data = self.data

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "ok": ok,
                "jobId": job_id,
                "stream": stream,
                "offset": offset,
                "nextOffset": next_offset,
                "totalSize": total_size,
                "truncated": truncated,
                "data": data,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        ok = d.pop("ok")

        job_id = d.pop("jobId")

        stream = d.pop("stream")

        offset = d.pop("offset")

        next_offset = d.pop("nextOffset")

        total_size = d.pop("totalSize")

        truncated = d.pop("truncated")

        data = d.pop("data")

        log_page = cls(
            ok=ok,
            job_id=job_id,
            stream=stream,
            offset=offset,
            next_offset=next_offset,
            total_size=total_size,
            truncated=truncated,
            data=data,
        )

        log_page.additional_properties = d
        return log_page

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
