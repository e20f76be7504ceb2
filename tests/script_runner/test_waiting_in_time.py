"""How long a wait takes as a whole: with a runner that is silent, and logs that have no end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from script_runner import (
    ANSWER_SECONDS,
    InvalidInput,
    RequestTimedOut,
    Runner,
    RunnerUnreachable,
    connect,
    lines,
    pages,
    read_lines,
    wait_for_job,
    waiting,
)
from tests.script_runner.scripted_runner import JOB_ID, ScriptedRunner, State
from tests.support.misbehaving_server import Action, Request, Step, http_answer
from tests.support.waiting import wait_until

RUNNING = State("running")
ENDED = State("succeeded")
TEXT = b"a line\n" * 3
SILENCE = b""
"""An answer that never comes."""

LEAST_SECONDS = 0.3
MUCH_LONGER_SECONDS = 5.0
GO_ON = (
    "wait again with a larger timeout_seconds, look at it with get-job-status, or end it with "
    "cancel-job."
)
MISSING = "… the end is not shown here; get-job-logs has it."


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_indexes", lines._Indexes())
    monkeypatch.setattr(waiting, "LEAST_LOOK_SECONDS", LEAST_SECONDS)


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Check that each test ends long before one call may."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < MUCH_LONGER_SECONDS < ANSWER_SECONDS


class WithoutLogs(ScriptedRunner):
    """A runner that is silent when it is asked for a log."""

    def _answer(self, request: Request) -> Iterator[Step]:
        if "/logs" not in request.target:
            yield from super()._answer(request)


def late(runner: ScriptedRunner, seconds: float) -> str:
    """What a wait says that is over before the job is; the URL is left out."""
    with runner.listening() as server, pytest.raises(RequestTimedOut) as caught:
        wait_for_job(connect(server.url), JOB_ID, timeout_seconds=seconds, on_line=lambda *_: None)
    return str(caught.value).replace(server.url, "URL")


def lines_until_the_end(runner: ScriptedRunner, seconds: float) -> list[str]:
    """The lines that are passed on of a job that ends."""
    passed: list[str] = []
    with runner.listening() as server:
        job = wait_for_job(
            connect(server.url),
            JOB_ID,
            timeout_seconds=seconds,
            on_line=lambda line, stream: passed.append(f"{stream} {line}"),
        )
    assert job.code == 0
    return passed


@pytest.mark.parametrize(("seconds", "limit"), [(0, 0.3), (0.1, 0.3), (0.5, 0.5)])
def test_a_runner_that_is_silent_is_waited_for_no_longer_than_the_wait(
    seconds: float, limit: float
) -> None:
    assert late(ScriptedRunner([SILENCE]), seconds) == (
        f"GET /jobs/job_1 at URL: no whole answer within {limit:g} s. Is the machine of the runner "
        "overloaded, or something else listening there?"
    )


def test_a_runner_that_falls_silent_is_waited_for_and_the_job_is_named() -> None:
    message = late(ScriptedRunner([RUNNING, SILENCE]), 0.5)
    assert re.sub(r"within 0\.[345] s", "in time", message) == (
        "job job_1 at URL was running when it was last seen, and 0.5 s are over. It may go on: "
        f"{GO_ON} The last look at it failed: GET /jobs/job_1 at URL: no whole answer in time. "
        "Is the machine of the runner overloaded, or something else listening there?"
    )


def test_a_log_that_does_not_come_is_waited_for_no_longer_than_the_wait() -> None:
    message = late(WithoutLogs([State("running", TEXT)]), 0.5)
    assert message == f"job job_1 at URL is still running after 0.5 s. It goes on: {GO_ON}"


def test_a_job_that_has_ended_is_returned_although_its_log_does_not_come() -> None:
    runner = WithoutLogs([State("succeeded", TEXT, TEXT)])
    assert lines_until_the_end(runner, 0.5) == [f"stdout {MISSING}"]


def test_a_job_that_ended_before_the_runner_fell_silent_is_returned() -> None:
    runner = WithoutLogs([State("succeeded", TEXT), SILENCE])
    assert lines_until_the_end(runner, 0.5) == [f"stdout {MISSING}"]


def test_a_log_that_another_call_is_reading_is_waited_for_no_longer_than_the_wait() -> None:
    with WithoutLogs([State("running", TEXT)]).listening() as server, ThreadPoolExecutor(1) as one:
        runner = connect(server.url)
        index = lines._indexes.get((runner.url, JOB_ID, "stdout"))
        reading = one.submit(read_lines, runner, JOB_ID)
        wait_until(index.lock.locked)
        with pytest.raises(RequestTimedOut) as caught:
            wait_for_job(runner, JOB_ID, timeout_seconds=0.5, on_line=lambda *_: None)
        assert not reading.done()
        # Ends the other call, too.
        server.__exit__()
    assert str(caught.value).startswith(f"job job_1 at {server.url} is still running after 0.5 s.")


HUGE = b"a line\n" * 100_000


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages so small that the huge log takes minutes."""
    for module in (lines, pages):
        monkeypatch.setattr(module, "PAGE_BYTES", 70)


@pytest.mark.usefixtures("small_pages")
def test_a_huge_log_of_a_running_job_is_followed_no_longer_than_the_wait() -> None:
    message = late(ScriptedRunner([State("running", HUGE)]), 0.5)
    assert message == f"job job_1 at URL is still running after 0.5 s. It goes on: {GO_ON}"


@pytest.mark.usefixtures("small_pages")
def test_a_job_with_a_huge_log_is_returned_in_time_when_it_has_ended() -> None:
    runner = ScriptedRunner([State("succeeded", HUGE)])
    assert lines_until_the_end(runner, 0) == [f"stdout {MISSING}"]


@pytest.mark.usefixtures("small_pages")
def test_the_lines_of_a_job_that_ends_in_time_are_all_passed_on() -> None:
    runner = ScriptedRunner([State("succeeded", TEXT * 100, TEXT)])
    wanted = ["stdout a line"] * 300 + ["stderr a line"] * 3
    assert lines_until_the_end(runner, MUCH_LONGER_SECONDS) == wanted


@pytest.mark.parametrize("away", [SILENCE, http_answer(504, b"<p>late"), Action.RESET])
def test_a_look_that_gets_no_answer_in_time_is_followed_by_others(
    away: bytes | Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", 0.2)
    runner = ScriptedRunner([RUNNING, away, RUNNING, away, State("succeeded", TEXT)])
    assert lines_until_the_end(runner, 60) == ["stdout a line"] * 3
    assert runner.looks == 5


def test_a_runner_that_is_away_when_the_wait_is_over_had_a_job() -> None:
    message = late(ScriptedRunner([State("queued"), Action.CLOSE]), 0.2)
    assert message == (
        "job job_1 at URL was queued when it was last seen, and 0.2 s are over. It may go on: "
        f"{GO_ON} The last look at it failed: GET /jobs/job_1 at URL: the connection was lost "
        "before an answer came (RemoteProtocolError: Server disconnected without sending a "
        "response.). Did the runner stop or restart? Try again."
    )


def test_a_runner_that_is_away_for_long_is_the_error_before_the_wait_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "AWAY_SECONDS", 0.2)
    with (
        ScriptedRunner([RUNNING, Action.CLOSE]).listening() as server,
        pytest.raises(RunnerUnreachable),
    ):
        wait_for_job(connect(server.url), JOB_ID, timeout_seconds=60)


@pytest.mark.parametrize(
    ("seconds", "first", "last"), [(0, 0.3, 0.3), (1, 1, 0.3), (20, 20, None), (300, 30, None)]
)
def test_each_call_may_take_what_is_left_of_the_wait(
    seconds: float, first: float, last: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    call = Runner.call

    def spy(runner: Runner, *arguments: Any, **options: Any) -> Any:
        given.append(options["time_limit_seconds"])
        return call(runner, *arguments, **options)

    monkeypatch.setattr(Runner, "call", spy)
    states = [State("running", TEXT)] * 10 + ([ENDED] if last is None else [])
    with ScriptedRunner(states).listening() as server:
        runner = connect(server.url)
        try:
            wait_for_job(runner, JOB_ID, timeout_seconds=seconds, on_line=lambda *_: None)
        except RequestTimedOut:
            assert last is not None
    assert given[0] == first
    assert given == sorted(given, reverse=True)
    assert last is None or given[-1] == last


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_wait_of_no_number_of_seconds_is_refused_before_anything_is_sent(seconds: float) -> None:
    with ScriptedRunner([RUNNING]).listening() as server:
        with pytest.raises(InvalidInput, match=r"^timeout_seconds must be a number of seconds"):
            wait_for_job(connect(server.url), JOB_ID, timeout_seconds=seconds)
        assert server.requests == []
