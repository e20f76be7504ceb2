"""The log of the local runner on stderr: one line an event, for people or for machines.

A thread writes it, so that nothing waits for whoever reads stderr, or does not.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from local_runner.jobs.record import JobRecord

LogFormat = Literal["text", "json"]

MAX_WAITING_CHARACTERS = 1024 * 1024
"""The most that waits to be written, some 6,000 lines; what comes then is dropped and counted."""

LINE_CHARACTERS = 120
"""What a line has besides its values, about."""

GATHER_SECONDS = 0.02
"""How long a line waits for others: many written together cost a fraction of as many alone."""

END_SECONDS = 3.0
"""How long the end of the runner waits for whoever reads stderr."""

Fields = Mapping[str, object]

Format = Callable[[float, str, Fields], str]
"""Makes a line of the time of an event in seconds since the epoch, its name and its fields."""

_logger = logging.getLogger("local_runner")


class _Stderr(logging.Handler):
    """Hands events to a thread that writes a line of each to stderr."""

    def __init__(self, line_of: Format) -> None:
        super().__init__()
        self._line_of = line_of
        self._events: deque[tuple[float, str, Fields]] = deque()
        self._waiting = 0
        self._dropped = 0
        # Both can be used again by the same thread while it uses them: a finalizer that the garbage
        # collector calls meanwhile may log, such as that of a task whose exception nobody took.
        self._lock, self._wake = threading.RLock(), queue.SimpleQueue[None]()
        self._is_woken = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a message of a library written."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        self.take(record.levelname.lower(), {"message": message})

    def take(self, name: str, fields: Fields) -> None:
        """Have an event written, or dropped if too many wait."""
        size = _size_of(fields)
        with self._lock:
            if self._waiting + size > MAX_WAITING_CHARACTERS:
                self._dropped += 1
                return
            self._tell_of_dropped_lines()
            self._add(name, fields, size)

    def end(self) -> None:
        """Write what waits, unless nobody reads it."""
        self._ended.set()
        self._wake.put(None)
        self._thread.join(END_SECONDS)

    def _add(self, name: str, fields: Fields, size: int) -> None:
        self._events.append((time.time(), name, fields))
        self._waiting += size
        if not self._is_woken:
            self._is_woken = True
            self._wake.put(None)

    def _tell_of_dropped_lines(self) -> None:
        if self._dropped:
            said = f"{self._dropped} lines of the log were dropped: nobody read stderr in time"
            self._dropped = 0
            fields = {"message": said}
            self._add("warning", fields, _size_of(fields))

    def _write_lines(self) -> None:
        written = 0
        while not self._ended.is_set() or self._is_woken:
            self._wake.get()
            self._ended.wait(GATHER_SECONDS)
            with self._lock:
                self._waiting -= written
                self._tell_of_dropped_lines()
                self._is_woken = False
                events, self._events = self._events, deque()
                written = self._waiting
            lines = [f"{self._line_of(*event)}\n" for event in events]
            _write("".join(lines).encode("utf-8", "backslashreplace"))


def _size_of(fields: Fields) -> int:
    """About how many characters a line has."""
    return LINE_CHARACTERS + sum(len(value) for value in fields.values() if isinstance(value, str))


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
    """Write events, and warnings of the libraries and of Python, to stderr until the block is left.

    What waits then is written, for at most `END_SECONDS`.

    Args:
        log_format: `text` for lines to read, `json` for one JSON object a line.
    """
    global _take
    handler = _Stderr(_json_line if log_format == "json" else _text_line)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # Python itself would write to stderr at once, and wait for whoever reads it.
    logging.captureWarnings(True)
    before = _take, sys.unraisablehook
    _take, sys.unraisablehook = handler.take, _log_unraisable
    try:
        yield
    finally:
        _take, sys.unraisablehook = before
        logging.captureWarnings(False)
        handler.end()


def _log_unraisable(ignored: sys.UnraisableHookArgs) -> None:
    _logger.error("exception ignored in %r", ignored.object, exc_info=ignored.exc_value)


def _take_by_logging(name: str, fields: Fields) -> None:
    """Leave an event to the program that the runner is a part of."""
    _logger.info(name, extra={"fields": fields})


_take: Callable[[str, Fields], None] = _take_by_logging
"""Where events go."""


def event(name: str, **fields: object) -> None:
    """Write one line.

    Args:
        name: What happened, one word.
        fields: What is to know about it, in the order they are shown; they must not change.
    """
    _take(name, fields)


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


def _moment(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json_line(seconds: float, name: str, fields: Fields) -> str:
    # Whatever it is given: a line that fails would be the last one.
    return json.dumps({"time": _moment(seconds), "event": name, **fields}, default=str)


def _text_line(seconds: float, name: str, fields: Fields) -> str:
    shown = [f"{key}={value}" for key, value in fields.items() if key != "message"]
    message = [str(fields["message"])] if fields.get("message") is not None else []
    return " ".join([_moment(seconds), name, *shown, *message])
