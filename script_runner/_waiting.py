"""Waiting for the end of a job, with its output as it comes: what to do next, and when.

`Wait.steps` is a generator without I/O. It yields steps, and a client takes them: what it is to
call (`GetJob`, `PageRequest`), how long to sleep, what to tell the caller. A call that fails is
thrown into it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from generated_client.models import Job
from script_runner._settings import Settings
from script_runner._status import has_ended
from script_runner.errors import (
    InvalidInput,
    RequestRejected,
    RequestTimedOut,
    ScriptRunnerError,
    WaitTimedOut,
)
from script_runner.logs import Log, PageRequest, Stream, output_of
from script_runner.logs._follow import Follower, Line, Notice, Progress, Text

_END_IS_MISSING = "… the end is not shown here; the log of the job has it."

PASSING_STATUS_CODES = frozenset({408, 425, 429})
"""HTTP errors below 500 that may be gone the next time."""


@dataclass(frozen=True)
class GetJob:
    """Poll the job; wants it sent, or the error thrown."""

    timeout: float


@dataclass(frozen=True)
class Sleep:
    """Wait until the next poll."""

    seconds: float


@dataclass(frozen=True)
class Polled:
    """The job as it is now."""

    job: Job


@dataclass(frozen=True)
class Ended:
    """The end of the wait; there are no more steps."""

    job: Job


Seen = Polled | Text | Line | Progress
"""What the caller is told."""

Step = GetJob | PageRequest | Sleep | Seen | Ended
Steps = Generator[Step, Any, None]


@dataclass(frozen=True)
class Wait:
    """A wait for a job.

    Attributes:
        job_id: The job.
        timeout: The longest wait in seconds.
        settings: Times and limits.
        where: The runner, as messages name it.
        go_on: What messages tell their reader to do when the wait is over.
        hide: Takes credentials out of what the runner says.
        max_lines: The most lines of a stream that are passed on; None for all.
        read_from: The byte from which each stream is read; one that is not named is not read.
        clock: Tells the time in seconds.
    """

    job_id: str
    timeout: float
    settings: Settings
    where: str
    go_on: str
    hide: Callable[[str], str]
    max_lines: int | None
    read_from: Mapping[Stream, int]
    clock: Callable[[], float] = time.monotonic

    def steps(self, *, with_output: bool) -> Steps:
        """The steps of the wait; see `ScriptRunner.wait`."""
        return _Waiting(self, with_output=with_output).steps()


class _Waiting:
    def __init__(self, wait: Wait, *, with_output: bool) -> None:
        self._wait = wait
        self._begun = wait.clock()
        self._deadline = self._begun + wait.timeout
        self._end_of_poll = math.inf
        self._last_response = self._begun
        self._is_away = False
        settings = wait.settings
        self._followers = {
            stream: Follower(
                Log(stream, self._name_of(stream), settings.page_bytes, self._seconds_left),
                settings.max_open_line,
                wait.max_lines,
                offset,
            )
            for stream, offset in wait.read_from.items()
            if with_output
        }

    def _name_of(self, stream: Stream) -> str:
        return f"the {stream} log of job {self._wait.job_id} at {self._wait.where}"

    def steps(self) -> Steps:
        job: Job | None = None
        seen_ended: float | None = None
        while True:
            self._end_of_poll = max(
                self._deadline, self._wait.clock() + self._wait.settings.last_poll_seconds
            )
            failure: ScriptRunnerError | None = None
            try:
                job = yield GetJob(self._seconds_left())
                yield Polled(job)
            except ScriptRunnerError as error:
                if job is None or _is_final(error):
                    raise
                failure = error
            output_failure = failure
            if failure is None:
                output_failure = yield from self._follow(job)
            now = self._wait.clock()
            yield from self._say_if_away(failure or output_failure, now)
            if has_ended(job):
                seen_ended = now if seen_ended is None else seen_ended
                if output_failure is not None and self._gives_up(output_failure, seen_ended, now):
                    yield Notice(_END_IS_MISSING, "stdout")
                    output_failure = None
                if output_failure is None:
                    yield Ended(job)
                    return
            if now >= self._deadline:
                raise WaitTimedOut(self._too_late(job, failure), job=job)
            yield Sleep(self._until_next_poll(now))

    def _follow(self, job: Job) -> Generator[Step, Any, ScriptRunnerError | None]:
        """Pass on what is new. What goes wrong with a log does not end the wait."""
        failure: ScriptRunnerError | None = None
        for stream, follower in self._followers.items():
            _, size, _ = output_of(job, stream)
            try:
                yield from follower.follow(size, has_ended=has_ended(job))
            except ScriptRunnerError as error:
                failure = error
        return failure

    def _seconds_left(self) -> float:
        """The timeout of the next call."""
        left = min(self._wait.settings.response_seconds, self._end_of_poll - self._wait.clock())
        if left <= 0:
            raise RequestTimedOut("The time for a poll of the job is over.")
        # As a message shows it.
        return math.ceil(left * 10) / 10

    def _gives_up(self, failure: ScriptRunnerError, seen_ended: float, now: float) -> bool:
        """Whether the rest of the output of a job that has ended is given up."""
        given_up = min(self._deadline, seen_ended + self._wait.settings.missing_output_seconds)
        return _is_final(failure) or now >= given_up

    def _say_if_away(
        self, failure: ScriptRunnerError | None, now: float
    ) -> Generator[Notice, None, None]:
        if failure is None:
            self._last_response, self._is_away = now, False
            return
        away = self._wait.settings.missing_output_seconds
        if not self._is_away and now >= self._last_response + away:
            self._is_away = True
            yield Notice(f"… no response for {away:g} s, still waiting: {failure}", "stderr")

    def _until_next_poll(self, now: float) -> float:
        settings = self._wait.settings
        interval = min(settings.max_poll_seconds, (now - self._begun) * settings.poll_share)
        interval = max(settings.first_poll_seconds, interval)
        return max(0.0, min(interval, self._deadline - now))

    def _too_late(self, job: Job, failure: ScriptRunnerError | None) -> str:
        wait = self._wait
        status, seconds = wait.hide(job.status), f"{wait.timeout:g} s"
        subject = f"job {wait.job_id} at {wait.where}"
        if failure is None:
            return f"{subject} is still {status} after {seconds}. It goes on: {wait.go_on}."
        return (
            f"{subject} was {status} when it was last seen, and {seconds} are over. It may go on: "
            f"{wait.go_on}. The last poll failed: {failure}"
        )


def _is_final(error: ScriptRunnerError) -> bool:
    """Whether the runner has said no, which it will say the next time, too."""
    if isinstance(error, RequestRejected):
        if error.status_code == HTTPStatus.NOT_FOUND and error.code is None:
            return False  # a proxy has no route while the runner behind it restarts
        return error.status_code < 500 and error.status_code not in PASSING_STATUS_CODES
    return isinstance(error, InvalidInput)
