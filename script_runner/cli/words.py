"""Texts and numbers as people read them, and what others wrote made harmless for a terminal."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from generated_client.models import Job
from script_runner._status import Status

STATUS_WORDS: Mapping[str, str] = {Status.TIMED_OUT: "timed out", Status.CANCELED: "cancelled"}
"""What people call a status, if it is not its word."""


_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""What a terminal obeys, or shows as nothing: controls, line separators, marks of direction, halves
of surrogate pairs, tags."""


def harmless(text: str) -> str:
    """A text of somebody else on one line: what a terminal would obey or not show is escaped."""
    return _UNSAFE.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text
    )


def harmless_json(document: object) -> str:
    """A JSON text that is the same document for a program, and harmless on a terminal."""
    text = json.dumps(document, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def json_of(job: Job) -> dict[str, Any]:
    """A job as it is on the wire."""
    document = job.to_dict()
    for name, value in document.items():
        if name.endswith("At") and value is not None:
            moment = datetime.datetime.fromisoformat(value)
            document[name] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return document


def exit_code(job: Job) -> str:
    """The exit code of a job; empty if it has none."""
    return "" if job.code is None or job.code < 0 else str(job.code)


def seconds_of(job: Job, now: datetime.datetime) -> float | None:
    """How long a job has run, by now if it still does; None if it has not begun."""
    if job.duration_ms is not None:
        return job.duration_ms / 1000
    if job.started_at is None:
        return None
    return max(0.0, (now - job.started_at).total_seconds())


def duration(seconds: float) -> str:
    """Such as `4 ms`, `2.3 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def ago(moment: datetime.datetime, now: datetime.datetime) -> str:
    """How long ago something was; the clock of the runner may be ahead of this one."""
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "just now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    # Two units are one too many for what is long ago.
    return f"{' '.join(duration(seconds).split()[:2])} ago"


def local_time(moment: datetime.datetime) -> str:
    """The time by the clock on the wall here."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """A number of bytes, such as `27 B`, `1.5 KiB`, `84 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"
