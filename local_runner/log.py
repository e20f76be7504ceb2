"""The log of the local runner on stderr: one line an event, for people or for machines.

A thread writes it, so that nothing waits for whoever reads stderr, or does not.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Literal

from local_runner.jobs.record import JobRecord

LogFormat = Literal["text", "json"]

MAX_WAITING_CHARACTERS = 1024 * 1024
"""The most that waits to be written, some 6,000 lines; what comes then is dropped and counted."""

END_SECONDS = 3.0
"""How long the end of the runner waits for whoever reads stderr."""

_logger = logging.getLogger("local_runner")


class _Stderr(logging.Handler):
    """Hands lines to a thread that writes them to stderr."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque()
        self._waiting = 0
        self._dropped = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written, or dropped if too many wait."""
        line = self.format(record)
        with self._changed:
            if self._waiting + len(line) > MAX_WAITING_CHARACTERS:
                self._dropped += 1
                return
            self._tell_of_dropped_lines()
            self._add(line)

    def end(self) -> None:
        """Write what waits, unless nobody reads it."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(END_SECONDS)

    def _add(self, line: str) -> None:
        self._lines.append(f"{line}\n")
        self._waiting += len(line) + 1
        self._changed.notify()

    def _tell_of_dropped_lines(self) -> None:
        if self._dropped:
            said = f"{self._dropped} lines of the log were dropped: nobody read stderr in time"
            self._dropped = 0
            record = _logger.makeRecord(_logger.name, logging.WARNING, "", 0, said, (), None)
            self._add(self.format(record))

    def _write_lines(self) -> None:
        written = 0
        while True:
            with self._changed:
                self._waiting -= written
                while not self._lines and not self._ended:
                    self._changed.wait()
                self._tell_of_dropped_lines()
                if not self._lines:
                    return
                text = "".join(self._lines)
                self._lines.clear()
            _write(text.encode("utf-8", "backslashreplace"))
            written = len(text)


def _write(data: bytes) -> None:
    """Write all to stderr; what cannot be written is lost."""
    # There is none if the runner was started with it closed.
    while data and sys.stderr is not None:
        try:
            data = data[os.write(sys.stderr.fileno(), data) :]
        except BlockingIOError:
            # Whoever shares it has made it so.
            select.select([], [sys.stderr], [])
        except OSError:
            return


@contextlib.contextmanager
def to_stderr(log_format: LogFormat) -> Iterator[None]:
    """Write events, and the warnings of the libraries, to stderr until the block is left.

    What waits then is written, for at most `END_SECONDS`.

    Args:
        log_format: `text` for lines to read, `json` for one JSON object a line.
    """
    handler = _Stderr()
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(logging.INFO)
    # No line shows where it was logged; to find that out takes a third of the time of a line.
    logging._srcfile = None
    try:
        yield
    finally:
        handler.end()


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


def job_start(record: JobRecord) -> None:
    """Write the line of a job whose script was started."""
    event("job_start", job_id=record.job_id, script_id=record.script_id)


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
