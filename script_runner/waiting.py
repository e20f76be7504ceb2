"""Waiting for the end of a job, with its output as it comes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from generated_client.api.jobs import get_job
from generated_client.models import Job
from script_runner import inputs
from script_runner.client import Runner
from script_runner.errors import (
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
)
from script_runner.inputs import Stream
from script_runner.lines import lines_of_log
from script_runner.pages import RunnerLog
from script_runner.status import has_ended, status_of
from script_runner.transport import ANSWER_SECONDS

FIRST_INTERVAL_SECONDS = 0.05
"""How long after the first look at a job the second one is."""

MAX_INTERVAL_SECONDS = 5.0
"""The longest time between two looks."""

INTERVAL_SHARE = 0.05
"""The time between two looks, as a share of the time waited: an end is seen at most so late."""

LEAST_LOOK_SECONDS = 5.0
"""How long a look at a job and its output may take although the wait is over; a wait of no time
looks once."""

AWAY_SECONDS = 60.0
"""How long a runner that has answered before may give no answer, while it restarts for instance."""

AWAY_STATUS_CODES = frozenset({502, 503, 504})
"""HTTP errors of a runner, or of a proxy before it, that is briefly away."""

MAX_STREAMED_LINES = 2_000
"""The most lines of a stream that are passed on while waiting; the log has them all."""

DEFAULT_TIMEOUT_SECONDS = 300.0
"""The longest wait where none is named."""

OnLine = Callable[[str, Stream], None]
OnLook = Callable[[Job, float], None]


def wait_for_job(
    runner: Runner,
    job_id: str,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    on_line: OnLine | None = None,
    on_look: OnLook | None = None,
) -> Job:
    """Wait until a job has ended.

    A runner that is away for less than a minute, after it has answered once, is waited for.

    Args:
        runner: See `connect`.
        job_id: The job.
        timeout_seconds: The longest wait; 0 looks once. A look may end up to
            `LEAST_LOOK_SECONDS` later.
        on_line: Called with each new line of the job's output and the name of its stream. Where
            the time is over before the output was read, with the lines up to then.
        on_look: Called after each look with the job and the seconds waited so far.

    Returns:
        The ended job.

    Raises:
        InvalidInput: If the longest wait is no number of seconds.
        RequestTimedOut: If the job has not ended in time; it goes on.
        ScriptRunnerError: See `Runner.call`.
    """
    timeout_seconds = inputs.seconds(
        {"timeout_seconds": timeout_seconds}, "timeout_seconds", default=DEFAULT_TIMEOUT_SECONDS
    )
    begun = time.monotonic()
    deadline = begun + timeout_seconds
    follower = _Follower(runner, job_id, on_line)
    job: Job | None = None
    last_answer = begun
    while True:
        look = _Look(deadline)
        try:
            job = runner.call(get_job, job_id, time_limit_seconds=look.seconds_left())
            look.has_found_job = True
            follower.follow(job, look)
            last_answer = time.monotonic()
        except ScriptRunnerError as error:
            if job is None or not _is_away(error):
                raise
            look.failure = error
        now = time.monotonic()
        if look.failure is None and on_look is not None:
            on_look(job, now - begun)
        if has_ended(job) and (look.failure is None or now >= deadline):
            if look.failure is not None:
                follower.say_that_lines_are_missing()
            return job
        if now >= deadline:
            raise RequestTimedOut(_too_late(runner, job_id, job, timeout_seconds, look))
        if look.failure is not None and now >= last_answer + AWAY_SECONDS:
            raise look.failure
        _sleep_until_next_look(begun, deadline)


class _Look:
    """A look at a job and its output, the time for it, and what came of it."""

    def __init__(self, deadline: float) -> None:
        self._end = max(deadline, time.monotonic() + LEAST_LOOK_SECONDS)
        self.has_found_job = False
        self.failure: ScriptRunnerError | None = None

    def seconds_left(self) -> float:
        """The time limit of the next call."""
        left = min(ANSWER_SECONDS, self._end - time.monotonic())
        if left <= 0:
            raise RequestTimedOut("The time for a look at the job is over.")
        # As a message shows it.
        return math.ceil(left * 10) / 10


def _sleep_until_next_look(begun: float, deadline: float) -> None:
    now = time.monotonic()
    interval = min(MAX_INTERVAL_SECONDS, (now - begun) * INTERVAL_SHARE)
    time.sleep(max(0.0, min(max(FIRST_INTERVAL_SECONDS, interval), deadline - now)))


def _is_away(error: ScriptRunnerError) -> bool:
    if isinstance(error, RequestRejected):
        return error.status_code in AWAY_STATUS_CODES
    return isinstance(error, RunnerUnreachable | RequestTimedOut)


def _too_late(runner: Runner, job_id: str, job: Job, timeout_seconds: float, look: _Look) -> str:
    status = runner.quoted(status_of(job.status))
    go_on = (
        "wait again with a larger timeout_seconds, look at it with get-job-status, or end it with "
        "cancel-job."
    )
    if look.has_found_job:
        state = f"is still {status} after {timeout_seconds:g} s. It goes on"
        return f"job {job_id} at {runner.url} {state}: {go_on}"
    return (
        f"job {job_id} at {runner.url} was {status} when it was last seen, and {timeout_seconds:g} "
        f"s are over. It may go on: {go_on} The last look at it failed: {look.failure}"
    )


class _Follower:
    """Passes on the lines of a job as they come; of each stream at most `MAX_STREAMED_LINES`."""

    def __init__(self, runner: Runner, job_id: str, on_line: OnLine | None) -> None:
        self._runner = runner
        self._job_id = job_id
        self._on_line = on_line
        self._passed: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._seen_bytes: dict[Stream, int] = {"stdout": 0, "stderr": 0}

    def follow(self, job: Job, look: _Look) -> None:
        """Pass on what is new.

        Raises:
            ScriptRunnerError: See `Runner.call`; RequestTimedOut also where no time is left.
        """
        if self._on_line is None:
            return
        self._follow_stream(job, "stdout", job.stdout_size, look)
        self._follow_stream(job, "stderr", job.stderr_size, look)

    def say_that_lines_are_missing(self) -> None:
        """Say that the output of a job that has ended could not be read to its end."""
        if self._on_line is not None:
            self._on_line("… the end is not shown here; get-job-logs has it.", "stdout")

    def _follow_stream(self, job: Job, stream: Stream, size: int, look: _Look) -> None:
        ended = has_ended(job)
        passed = self._passed[stream]
        if passed > MAX_STREAMED_LINES or not (size > self._seen_bytes[stream] or (ended and size)):
            return
        assert self._on_line is not None
        room = MAX_STREAMED_LINES - passed
        log = RunnerLog(self._runner, self._job_id, stream, look.seconds_left)
        page = lines_of_log(log, offset=passed, limit=max(room, 1))
        # Half a line is passed on when it is whole, or when no more will come.
        known = page.total_lines if ended else page.complete_lines
        for line in page.lines[: min(known - passed, room)]:
            self._on_line(line, stream)
        # One more than are passed on: that there are more is said once, now or at a later look.
        self._passed[stream] = min(known, MAX_STREAMED_LINES + 1)
        self._seen_bytes[stream] = size
        if known > MAX_STREAMED_LINES:
            self._on_line(
                f"… {MAX_STREAMED_LINES} lines are shown here; get-job-logs has them all.", stream
            )
