"""What watches a job: `run`, `wait` and `logs`."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from generated_client.models import Job
from script_runner import ScriptRunner, Status, Stream, has_ended
from script_runner.cli import words
from script_runner.cli.exit_codes import exit_code_of, why_without_exit_code
from script_runner.cli.interrupts import Interrupts
from script_runner.cli.output import JsonLines, Output, StatusLine, Streams, print_json, say
from script_runner.cli.windows import Window, last_lines
from script_runner.logs import STREAMS, output_of, reason_in_preview

KEPT_CHARACTERS = 64 * 1024
"""How much of the end of stderr is kept, to know what of a preview is not of it."""

TAIL_BYTES = 4096
"""How much of what a job wrote is read to know how far it is."""


def run(runner: ScriptRunner, script: str, args: Sequence[str], *, as_json: bool) -> int:
    """Run a script and show what it writes; gives the exit code."""
    sink: Output = JsonLines() if as_json else Streams()
    end_of_stderr = ""

    def on_text(text: str, stream: Stream) -> None:
        nonlocal end_of_stderr
        if stream == "stderr":
            end_of_stderr = (end_of_stderr + text)[-KEPT_CHARACTERS:]
        sink.on_text(text, stream)

    with Interrupts(runner, sink.fresh_line) as interrupts:
        try:
            job_id = runner.start(script, *args)
            interrupts.started(job_id)
            if as_json:
                print_json({"type": "started", "jobId": job_id})
            job = runner.wait(
                job_id,
                timeout=math.inf,
                on_text=on_text,
                on_notice=sink.on_notice,
                on_progress=sink.on_progress,
                on_poll=sink.on_poll,
            )
        except KeyboardInterrupt:
            sink.on_notice(_left(interrupts.job_id))
            return 128 + (interrupts.signal or signal.SIGINT)
        finally:
            sink.close()
        if interrupts.signal is not None:
            return 128 + interrupts.signal
    for sentence in _to_say(job, end_of_stderr):
        sink.on_notice(sentence)
    if as_json:
        print_json({"type": "job", "job": words.json_of(job)})
    elif exit_code_of(job) != 0 and why_without_exit_code(job) is None:
        _conclude(job, sink.fresh_line())
    return exit_code_of(job)


def _left(job_id: str | None) -> str:
    if job_id is None:
        return "the script may have been started: see `scriptctl jobs`"
    return f"left {job_id}, which may go on: see `scriptctl status {job_id}`"


def _to_say(job: Job, end_of_stderr: str) -> list[str]:
    """What neither the output of a job nor its exit code says."""
    sentences = [
        f"{job.job_id}: the runner has not kept all of {stream} (maxLogBytesPerStream)"
        for stream in STREAMS
        if output_of(job, stream)[2]
    ]
    why = why_without_exit_code(job)
    if reason := reason_in_preview(job, end_of_stderr):
        # The reference server says it again for each piece that it could not write.
        sentences.append(f"{job.job_id}: {reason.splitlines()[-1]}")
    # If stderr is cut, what looks like the reason may be the last that the script wrote.
    is_said = bool(reason) and job.status == Status.FAILED and not job.stderr_truncated
    if why is not None and not is_said:
        sentences.append(why)
    return sentences


def _conclude(job: Job, fresh_line: str = "") -> None:
    """Say on a terminal how a job has ended."""
    if sys.stderr.isatty():
        from script_runner.cli import tables

        sys.stderr.write(fresh_line + tables.conclusion(job))


def wait(runner: ScriptRunner, job_id: str, timeout: float | None, *, as_json: bool) -> int:
    """Wait for a job; gives the exit code."""
    line = StatusLine()
    percent: float | None = None
    first = runner.status(job_id)

    def on_progress(now: float) -> None:
        nonlocal percent
        percent = now

    # Only what is shown is read, and of that the end.
    ends = {stream: max(0, output_of(first, stream)[1] - TAIL_BYTES) for stream in STREAMS}
    try:
        job = runner.wait(
            job_id,
            timeout=math.inf if timeout is None else timeout,
            on_progress=on_progress if line.can_be_shown else None,
            on_poll=lambda job: line.show(job, percent),
            on_notice=lambda sentence: _say_below(line, sentence),
            read_from=ends,
        )
    finally:
        line.clear()
    if as_json:
        print_json(words.json_of(job))
    elif line.can_be_shown:
        _conclude(job)
    elif (why := why_without_exit_code(job)) is not None:
        say(why)
    return exit_code_of(job)


def _say_below(line: StatusLine, sentence: str) -> None:
    line.clear()
    say(sentence)


@dataclass(frozen=True)
class Part:
    """Which lines of a log are wanted: the last ones, or so many from one on."""

    tail: int | None
    offset: int
    limit: int | None


class _Read(Exception):
    """All that was wanted has been read."""


def logs(
    runner: ScriptRunner,
    job_id: str,
    streams: Sequence[Stream],
    part: Part,
    *,
    is_followed: bool,
    sink: Output,
) -> int:
    """Show a part of what a job wrote; gives the exit code."""
    job = runner.status(job_id)
    windows = {stream: _window(runner, job, stream, part) for stream in streams}
    polls = 0

    def on_text(text: str, stream: Stream) -> None:
        if shown := windows[stream].take(text):
            sink.on_text(shown, stream)
        if all(window.is_over for window in windows.values()):
            raise _Read

    def on_poll(job: Job) -> None:
        nonlocal polls
        polls += 1
        if polls > 1 and not is_followed and not has_ended(job):
            raise _Read

    with contextlib.suppress(_Read):
        runner.wait(
            job_id,
            timeout=math.inf,
            on_text=on_text,
            on_notice=sink.on_notice,
            on_poll=on_poll,
            read_from={stream: window.start for stream, window in windows.items()},
        )
    return 0


def _window(runner: ScriptRunner, job: Job, stream: Stream, part: Part) -> Window:
    if part.tail is None:
        return Window(skip=part.offset, limit=part.limit)
    return last_lines(runner, job.job_id, stream, output_of(job, stream)[1], part.tail)
