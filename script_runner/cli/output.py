"""Where the output of a job goes as it comes: to the two streams here, or as lines of JSON."""

from __future__ import annotations

import datetime
import os
import sys
from typing import Any, Protocol

from generated_client.models import Job
from script_runner._status import Status
from script_runner.cli.words import harmless, harmless_json
from script_runner.logs import Stream

CLEAR_LINE = "\r\x1b[K"


def say(sentence: str) -> None:
    """Say something of scriptctl's own, on one line of stderr."""
    print(f"scriptctl: {harmless(sentence)}", file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """Print a document; one of many if it is a line of a stream."""
    print(harmless_json(document), flush=True)


def forget_stdout() -> None:
    """Nobody reads it: what is left to be written must not fail when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class StatusLine:
    """The line below the output, on a terminal alone: how far a job is.

    Attributes:
        can_be_shown: Whether there is a terminal.
    """

    def __init__(self) -> None:
        """Show nothing yet."""
        self.can_be_shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""

    def show(self, job: Job, percent: float | None) -> None:
        """Show it, in place of what it showed."""
        if not self.can_be_shown:
            return
        from script_runner.cli import tables

        now = datetime.datetime.now(datetime.UTC)
        line = tables.status_line(job, percent, now)
        if line != self._shown:
            self._write(CLEAR_LINE + line)
        self._shown = line

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            self._write(CLEAR_LINE)
            self._shown = ""

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Output(Protocol):
    """Who is told what `ScriptRunner.wait` sees."""

    def on_text(self, text: str, stream: Stream) -> None:
        """Pass on what the job wrote."""

    def on_progress(self, percent: float) -> None:
        """Note how far it is."""

    def on_poll(self, job: Job) -> None:
        """Note its state."""

    def on_notice(self, sentence: str) -> None:
        """Say what is to be said of the output."""

    def fresh_line(self) -> str:
        """What to write to stderr before something is said there."""

    def close(self) -> None:
        """Leave the terminal clean."""


class Streams:
    """Writes each stream of a job to the same one here, byte by byte as far as they are known."""

    def __init__(self, *, all_to_stdout: bool = False) -> None:
        """Take everything to stdout, or each stream where it belongs."""
        stderr = sys.stdout if all_to_stdout else sys.stderr
        self._files = {"stdout": sys.stdout, "stderr": stderr}
        self._status_line = StatusLine()
        self._line_is_open = False
        self._percent: float | None = None

    def on_text(self, text: str, stream: Stream) -> None:
        """Write it at once."""
        file = self._files[stream]
        self._status_line.clear()
        file.buffer.write(text.encode())
        file.buffer.flush()
        if file.isatty() and text:
            self._line_is_open = not text.endswith("\n")

    def on_progress(self, percent: float) -> None:
        """Show it with the next poll."""
        self._percent = percent

    def on_poll(self, job: Job) -> None:
        """Show how far the job is, unless the script draws on the line itself."""
        is_told = self._percent is not None or job.status == Status.QUEUED
        if is_told and not self._line_is_open and job.status in (Status.QUEUED, Status.RUNNING):
            self._status_line.show(job, self._percent)

    def on_notice(self, sentence: str) -> None:
        """Say it on stderr, on a line of its own."""
        sys.stderr.write(self.fresh_line())
        say(sentence)

    def fresh_line(self) -> str:
        """Nothing in a pipe; on a terminal below what the script wrote, in place of the line."""
        if not sys.stderr.isatty():
            return ""
        is_open, self._line_is_open = self._line_is_open, False
        return "\n" if is_open else CLEAR_LINE

    def close(self) -> None:
        """Leave the terminal clean."""
        self._status_line.clear()


class JsonLines:
    """Prints one JSON document a line; its key `type` says what it is."""

    def event(self, kind: str, **values: Any) -> None:
        """Print one."""
        print_json({"type": kind, **values})

    def on_text(self, text: str, stream: Stream) -> None:
        """Print it as it came."""
        self.event("output", stream=stream, data=text)

    def on_progress(self, percent: float) -> None:
        """Print it."""
        self.event("progress", percent=percent)

    def on_poll(self, job: Job) -> None:
        """Print nothing: the last one comes at the end."""

    def on_notice(self, sentence: str) -> None:
        """Say it on stderr: it is nothing that the script wrote."""
        say(sentence)

    def fresh_line(self) -> str:
        """Nothing: lines are whole."""
        return ""

    def close(self) -> None:
        """There is nothing to clean."""
