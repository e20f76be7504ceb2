"""Waiting for a job of a scripted runner: when it ends, what is passed on, who is away how long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from generated_client.models import Job
from script_runner import (
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
    connect,
    lines,
    wait_for_job,
    waiting,
)
from tests.script_runner.documented import documented
from tests.script_runner.scripted_runner import JOB_ID, ScriptedRunner, State
from tests.support.misbehaving_server import Action, http_answer, json_answer

RUNNING = State("running")
ENDED = State("succeeded")
AWAY = json_answer(503, documented("getJob", "stopping"))


class Clock:
    """A time that passes only while something sleeps; takes the place of the module `time`.

    Attributes:
        now: Seconds since it was made.
        sleeps: How long each sleep was.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    monkeypatch.setattr(lines, "_indexes", lines._Indexes())
    return made


def waited(states: Sequence[State | Action | bytes], seconds: float = 300.0) -> list[str]:
    """The lines that are passed on while waiting for a job that goes through these states."""
    passed: list[str] = []
    with ScriptedRunner(states).listening() as server:
        wait_for_job(
            connect(server.url),
            JOB_ID,
            timeout_seconds=seconds,
            on_line=lambda line, stream: passed.append(f"{stream} {line}"),
        )
    return passed


def test_the_ended_job_is_returned() -> None:
    runner = ScriptedRunner([State("queued"), RUNNING, RUNNING, ENDED])
    with runner.listening() as server:
        job = wait_for_job(connect(server.url), JOB_ID)
    assert (job.job_id, job.status, job.code) == (JOB_ID, "succeeded", 0)
    assert runner.looks == 4


@pytest.mark.parametrize("status", ["failed", "timed_out", "canceled"])
def test_a_job_that_failed_or_was_cancelled_has_ended(status: str) -> None:
    with ScriptedRunner([RUNNING, State(status)]).listening() as server:
        assert wait_for_job(connect(server.url), JOB_ID).status == status


def test_a_status_not_known_ends_the_wait_when_the_job_has_an_end() -> None:
    runner = ScriptedRunner([State("paused"), State("expired", ended_at="2026-11-23T18:38:06Z")])
    with runner.listening() as server:
        assert wait_for_job(connect(server.url), JOB_ID).status == "expired"
    assert runner.looks == 2


def test_each_look_is_told_with_the_time_waited(clock: Clock) -> None:
    looks: list[tuple[str, float]] = []

    def on_look(job: Job, seconds: float) -> None:
        looks.append((job.status, seconds))

    with ScriptedRunner([State("queued"), RUNNING, ENDED]).listening() as server:
        wait_for_job(connect(server.url), JOB_ID, on_look=on_look)
    assert looks == [
        ("queued", 0.0),
        ("running", pytest.approx(0.05)),
        ("succeeded", pytest.approx(0.1)),
    ]
    assert clock.now == pytest.approx(0.1)


@pytest.mark.parametrize(("end", "looks"), [(0.3, 8), (10.0, 75), (100.0, 120), (3000.0, 720)])
def test_the_end_is_seen_soon_and_looks_are_few(end: float, looks: int, clock: Clock) -> None:
    class EndingRunner(ScriptedRunner):
        def _answer(self, request):  # type: ignore[no-untyped-def]
            self._states = [ENDED if clock.now >= end else RUNNING]
            yield from super()._answer(request)

    runner = EndingRunner([RUNNING])
    with runner.listening() as server:
        wait_for_job(connect(server.url), JOB_ID, timeout_seconds=1e6)
    assert end <= clock.now <= end + max(0.05, min(5.0, 0.05 * end)) + 1e-6
    assert max(clock.sleeps) <= waiting.MAX_INTERVAL_SECONDS
    assert clock.sleeps == sorted(clock.sleeps)
    assert runner.looks <= looks


def test_a_job_that_does_not_end_in_time_is_an_error_that_says_how_to_go_on(clock: Clock) -> None:
    with ScriptedRunner([RUNNING]).listening() as server, pytest.raises(RequestTimedOut) as caught:
        wait_for_job(connect(server.url), JOB_ID, timeout_seconds=7.5)
    assert str(caught.value) == (
        f"job job_1 at {server.url} is still running after 7.5 s. It goes on: wait again with a "
        "larger timeout_seconds, look at it with get-job-status, or end it with cancel-job."
    )
    assert clock.now == 7.5


def test_a_wait_of_no_time_looks_once() -> None:
    runner = ScriptedRunner([State("queued")])
    with runner.listening() as server, pytest.raises(RequestTimedOut, match="queued after 0 s"):
        wait_for_job(connect(server.url), JOB_ID, timeout_seconds=0)
    assert runner.looks == 1
    with ScriptedRunner([ENDED]).listening() as server:
        assert wait_for_job(connect(server.url), JOB_ID, timeout_seconds=0).code == 0


def test_a_job_that_ends_at_the_last_moment_is_returned(clock: Clock) -> None:
    class LateRunner(ScriptedRunner):
        def _answer(self, request):  # type: ignore[no-untyped-def]
            self._states = [ENDED if clock.now >= 7.5 else RUNNING]
            yield from super()._answer(request)

    with LateRunner([RUNNING]).listening() as server:
        assert wait_for_job(connect(server.url), JOB_ID, timeout_seconds=7.5).code == 0


def test_lines_are_passed_on_once_in_their_order_by_stream() -> None:
    assert waited(
        [
            State("running", b"a\n", b"x\n"),
            State("running", b"a\nb\nc\n", b"x\n"),
            State("running", b"a\nb\nc\n", b"x\ny\n"),
            State("succeeded", b"a\nb\nc\nd\n", b"x\ny\nz\n"),
        ]
    ) == [f"stdout {each}" if each < "x" else f"stderr {each}" for each in "axbcydz"]


def test_half_a_line_is_passed_on_when_it_is_whole_or_the_job_has_ended() -> None:
    passed = waited(
        [
            State("running", b"one\nha"),
            State("running", b"one\nhalf"),
            State("running", "one\nhalf日".encode()[:-1]),
            State("running", "one\nhalf日\r\n\nen".encode()),
            State("succeeded", "one\nhalf日\r\n\nend".encode()),
        ]
    )
    assert passed == ["stdout one", "stdout half日", "stdout ", "stdout end"]


def test_half_a_line_that_is_all_there_is_is_passed_on_at_the_end() -> None:
    end = State("succeeded", b"half", b"")
    assert waited([State("running", b"half"), end]) == ["stdout half"]


def test_the_log_is_not_read_where_nobody_listens_or_nothing_came() -> None:
    runner = ScriptedRunner([State("running", b"a\n"), State("succeeded", b"a\n")])
    with runner.listening() as server:
        wait_for_job(connect(server.url), JOB_ID)
    assert runner.log_requests == 0
    runner = ScriptedRunner(
        [RUNNING, State("running", b"a\n"), *[State("running", b"a\n")] * 9, ENDED]
    )
    with runner.listening() as server:
        wait_for_job(connect(server.url), JOB_ID, on_line=lambda *_: None)
    assert runner.log_requests == 2


NOTE = "stdout … 3 lines are shown here; get-job-logs has them all."


@pytest.mark.parametrize(
    "stdout",
    [
        [b"1\n2\n3\n4\n5\n"],
        [b"1\n", b"1\n2\n3\n4\n", b"1\n2\n3\n4\n5\n"],
        # Exactly as many at first.
        [b"1\n2\n3\n", b"1\n2\n3\n4\n", b"1\n2\n3\n4\n5\n6\n"],
        [b"1\n2\n3\n", b"1\n2\n3\nhalf"],
    ],
)
def test_of_many_lines_the_first_are_passed_on_and_that_there_are_more_is_said_once(
    stdout: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MAX_STREAMED_LINES", 3)
    states = [*(State("running", each) for each in stdout), State("succeeded", stdout[-1])]
    assert waited(states) == ["stdout 1", "stdout 2", "stdout 3", NOTE]


def test_as_many_lines_as_are_passed_on_are_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_STREAMED_LINES", 3)
    states = [State("running", b"1\n2\n3\n"), State("succeeded", b"1\n2\n3\n")]
    assert waited(states) == ["stdout 1", "stdout 2", "stdout 3"]


def test_an_error_of_the_one_who_listens_ends_the_wait() -> None:
    def fail(*_: object) -> None:
        raise LookupError("mine")

    with (
        ScriptedRunner([State("succeeded", b"a\n")]).listening() as server,
        pytest.raises(LookupError, match="mine"),
    ):
        wait_for_job(connect(server.url), JOB_ID, on_line=fail)


@pytest.mark.parametrize("away", [Action.RESET, Action.CLOSE, AWAY, http_answer(502, b"<p>")])
def test_a_runner_that_is_briefly_away_is_waited_for(away: Action | bytes) -> None:
    runner = ScriptedRunner([RUNNING, away, away, away, ENDED])
    with runner.listening() as server:
        assert wait_for_job(connect(server.url), JOB_ID).code == 0
    assert runner.looks == 5


@pytest.mark.parametrize(
    ("away", "error"), [(Action.RESET, RunnerUnreachable), (AWAY, RequestRejected)]
)
def test_a_runner_that_stays_away_is_an_error(
    away: Action | bytes, error: type[ScriptRunnerError], clock: Clock
) -> None:
    with ScriptedRunner([RUNNING, away]).listening() as server, pytest.raises(error):
        wait_for_job(connect(server.url), JOB_ID)
    away_seconds = waiting.AWAY_SECONDS
    assert away_seconds <= clock.now <= away_seconds + waiting.MAX_INTERVAL_SECONDS


def test_a_runner_that_is_away_at_the_deadline_is_an_error_then(clock: Clock) -> None:
    with (
        ScriptedRunner([RUNNING, Action.RESET]).listening() as server,
        pytest.raises(RequestTimedOut, match=r"was running when it was last seen, and 7\.5 s"),
    ):
        wait_for_job(connect(server.url), JOB_ID, timeout_seconds=7.5)
    assert clock.now == 7.5


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (Action.CLOSE, RunnerUnreachable),
        (AWAY, RequestRejected),
        (json_answer(404, documented("getJob", "job-not-found")), RequestRejected),
        (http_answer(200, b"<p>"), InvalidResponse),
    ],
    ids=["closed", "unavailable", "no such job", "no runner"],
)
def test_a_runner_that_never_answered_is_an_error_at_once(
    first: Action | bytes, error: type[ScriptRunnerError], clock: Clock
) -> None:
    runner = ScriptedRunner([first, ENDED])
    with runner.listening() as server, pytest.raises(error):
        wait_for_job(connect(server.url), JOB_ID)
    assert (runner.looks, clock.sleeps) == (1, [])


@pytest.mark.parametrize(
    "answer",
    [
        json_answer(404, documented("getJob", "job-not-found")),
        json_answer(500, documented("getJob", "internal-error")),
        http_answer(200, b"<p>"),
    ],
    ids=["no such job", "failed", "no runner"],
)
def test_an_answer_that_is_not_that_of_a_runner_that_is_away_is_an_error_at_once(
    answer: bytes,
) -> None:
    runner = ScriptedRunner([RUNNING, answer, ENDED])
    with runner.listening() as server, pytest.raises((RequestRejected, InvalidResponse)):
        wait_for_job(connect(server.url), JOB_ID)
    assert runner.looks == 2
