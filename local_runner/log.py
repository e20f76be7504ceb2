"""The log of the local runner on stderr: one line an event, for people or for machines."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Literal

from local_runner.jobs.record import JobRecord

LogFormat = Literal["text", "json"]

_logger = logging.getLogger("local_runner")


def configure(log_format: LogFormat) -> None:
    """Write events, and the warnings of the libraries, to stderr.

    Args:
        log_format: `text` for lines to read, `json` for one JSON object a line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(logging.INFO)
    # No line shows where it was logged; to find that out takes a third of the time of a line.
    logging._srcfile = None


def event(name: str, **fields: object) -> None:
    """Write one line.

    Args:
        name: What happened, one word.
        fields: What is to know about it, in the order they are shown.
    """
    _logger.info(name, extra={"fields": fields})


def failure(message: str) -> None:
    """Write a line about the exception that is being handled, with its traceback."""
    _logger.exception(message)


def job_end(record: JobRecord) -> None:
    """Write the line of a job that has ended."""
    event(
        "job_end",
        job_id=record.job_id,
        script_id=record.script_id,
        status=record.status,
        code=record.code,
        duration_ms=record.duration_ms,
    )


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields of one of our events, or the message of a library."""
    fields: dict[str, object] | None = getattr(record, "fields", None)
    if fields is not None:
        return fields
    message = record.getMessage()
    if record.exc_info:
        message += "\n" + logging.Formatter().formatException(record.exc_info)
    return {"message": message}


def _event(record: logging.LogRecord) -> str:
    return record.msg if hasattr(record, "fields") else record.levelname.lower()


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"time": _time(record), "event": _event(record), **_fields(record)})


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        message = fields.get("message")
        shown = [f"{name}={value}" for name, value in fields.items() if name != "message"]
        return " ".join(
            [_time(record), _event(record), *shown, *([] if message is None else [str(message)])]
        )
