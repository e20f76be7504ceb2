"""Waiting for a job: when it ends, what is passed on, and what does not end the wait."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from generated_client.models import Job
from script_runner import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunner,
    ScriptRunnerError,
    Settings,
    WaitTimedOut,
    connect,
)
from script_runner._waiting import Ended, GetJob, Sleep, Wait
from script_runner.logs._follow import Notice
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.script_runner.documented import documented
from tests.script_runner.scripted_runner import JOB_ID, ScriptedRunner, State
from tests.script_runner.verbs import Connected, clients
from tests.support.misbehaving_server import Action, Request, Step, http_response, json_response

QUICK = Settings(first_poll_seconds=0.002, poll_share=0.0)
"""Poll again at once."""

RUNNING = State("running")
ENDED = State("succeeded")
NOT_FOUND = json_response(404, documented("getJob", "job-not-found"))
GO_ON = "wait again with a longer timeout, look at it with status(), or end it with cancel()."
MISSING = "stdout … the end is not shown here; the log of the job has it."


class Heard:
    """Listens to a wait.

    Attributes:
        lines: The lines by their streams, as `stdout a line`.
        progress: The percentages.
        polls: The status of the job at each poll.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.progress: list[float] = []
        self.polls: list[str] = []

    def on_line(self, line: str, stream: str) -> None:
        self.lines.append(f"{stream} {line}")

    def on_poll(self, job: Job) -> None:
        self.polls.append(job.status)

    @property
    def all(self) -> dict[str, Any]:
        """What `wait` takes to listen."""
        return {
            "on_line": self.on_line,
            "on_progress": self.progress.append,
            "on_poll": self.on_poll,
        }


def waited(
    states: Sequence[State | Action | bytes], timeout: float = 20.0, **options: Any
) -> tuple[Job, Heard]:
    """Wait for a job that goes through these states, poll by poll."""
    heard = Heard()
    with (
        ScriptedRunner(states).listening() as server,
        ScriptRunner(server.url, settings=options.pop("settings", QUICK)) as runner,
    ):
        return runner.wait(JOB_ID, timeout=timeout, **heard.all, **options), heard


# -- the end of a job


def test_the_ended_job_is_returned_and_each_poll_is_told(connected: Connected) -> None:
    runner, heard = ScriptedRunner([State("queued"), RUNNING, RUNNING, ENDED]), Heard()
    with runner.listening() as server:
        job = connected(server.url, settings=QUICK).wait(JOB_ID, **heard.all)
    assert (job.job_id, job.status, job.code) == (JOB_ID, "succeeded", 0)
    assert heard.polls == ["queued", "running", "running", "succeeded"]


@pytest.mark.parametrize("status", ["failed", "timed_out", "canceled"])
def test_a_job_that_failed_or_was_cancelled_has_ended(status: str) -> None:
    assert waited([RUNNING, State(status)])[0].status == status


def test_a_status_not_known_ends_the_wait_when_the_job_has_an_end() -> None:
    states = [State("paused"), State("expired", ended_at="2026-11-23T18:38:06Z")]
    job, heard = waited(states)
    assert (job.status, heard.polls) == ("expired", ["paused", "expired"])


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


@pytest.mark.parametrize(("end", "polls"), [(0.3, 8), (10.0, 75), (100.0, 120), (3000.0, 720)])
def test_the_end_is_seen_soon_and_polls_are_few(end: float, polls: int) -> None:
    """By the generator itself, which does no I/O: here its steps take no time but the sleeps."""
    clock, count = Clock(), 0
    wait = Wait(JOB_ID, 1e6, Settings(), "URL", "", str, None, {}, clock=clock.monotonic)
    steps = wait.steps(with_output=False)
    step = next(steps)
    while not isinstance(step, Ended):
        if isinstance(step, GetJob):
            count += 1
            example = "succeeded" if clock.now >= end else "running"
            step = steps.send(Job.from_dict(documented("getJob", example)))
            continue
        if isinstance(step, Sleep):
            clock.sleep(step.seconds)
        step = next(steps)
    assert end <= clock.now <= end + max(0.05, min(5.0, 0.05 * end)) + 1e-6
    assert max(clock.sleeps) <= Settings().max_poll_seconds
    assert clock.sleeps == sorted(clock.sleeps)
    assert count <= polls


def test_a_job_that_does_not_end_in_time_is_an_error_that_says_how_to_go_on(
    connected: Connected,
) -> None:
    runner = ScriptedRunner([RUNNING])
    with runner.listening() as server, pytest.raises(WaitTimedOut) as caught:
        connected(server.url).wait(JOB_ID, timeout=0.25)
    assert str(caught.value) == (
        f"job job_1 at {server.url} is still running after 0.25 s. It goes on: {GO_ON}"
    )
    assert caught.value.job.status == "running"


def test_a_wait_of_no_time_polls_once(connected: Connected) -> None:
    runner = ScriptedRunner([State("queued")])
    with runner.listening() as server, pytest.raises(WaitTimedOut, match="queued after 0 s"):
        connected(server.url).wait(JOB_ID, timeout=0)
    assert runner.polls == 1
    assert waited([ENDED], timeout=0)[0].code == 0


def test_a_wait_may_have_no_end() -> None:
    assert waited([RUNNING, ENDED], timeout=float("inf"))[0].code == 0


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True, 10**400])
def test_a_timeout_that_is_none_is_refused_and_nothing_is_sent(
    connected: Connected, timeout: float
) -> None:
    with ScriptedRunner([ENDED]).listening() as server:
        with pytest.raises(InvalidInput, match="timeout must be a number of seconds, 0 or more"):
            connected(server.url).wait(JOB_ID, timeout=timeout)
        assert server.connections == 0


# -- the output


def test_lines_are_passed_on_once_in_their_order_by_stream(connected: Connected) -> None:
    states = [
        State("running", b"a\n", b"x\n"),
        State("running", b"a\nb\nc\n", b"x\n"),
        State("running", b"a\nb\nc\n", b"x\ny\n"),
        State("succeeded", b"a\nb\nc\nd", b"x\ny\nz\n"),
    ]
    heard = Heard()
    with ScriptedRunner(states).listening() as server:
        connected(server.url, settings=QUICK).wait(JOB_ID, **heard.all)
    assert heard.lines == [
        f"stdout {each}" if each < "x" else f"stderr {each}" for each in "axbcydz"
    ]


def test_the_functions_may_be_coroutine_functions() -> None:
    heard = Heard()

    async def on_line(line: str, stream: str) -> None:
        heard.on_line(line, stream)

    runner = ScriptedRunner([State("succeeded", b"a\n")])
    with runner.listening() as server, clients("asyncio") as connected:
        connected(server.url).wait(JOB_ID, on_line=on_line)
    assert heard.lines == ["stdout a"]


def test_the_progress_is_what_the_script_prints_and_nothing_else() -> None:
    states = [
        State("running", b"begun\n"),
        State("running", b"begun\n\r 10%"),
        State("running", b"begun\n\r 10%\r 55%", b"note\n"),
        State("running", b"begun\n\r 10%\r 55%", b"note\n986 of 100\n"),
        State("succeeded", b"begun\n\r 10%\r 55%\r100%\n", b"note\n986 of 100\n"),
    ]
    _, heard = waited(states)
    assert heard.progress == [10, 55, 100]


def test_the_log_is_not_read_if_nobody_listens_or_nothing_came() -> None:
    states = [RUNNING, State("running", b"a\n"), *[State("running", b"a\n")] * 9, ENDED]
    runner = ScriptedRunner(states)
    with runner.listening() as server:
        ScriptRunner(server.url, settings=QUICK).wait(JOB_ID)
    assert runner.log_requests == 0
    runner = ScriptedRunner([*states[:-1], State("succeeded", b"a\n")])
    with runner.listening() as server:
        ScriptRunner(server.url, settings=QUICK).wait(JOB_ID, on_line=lambda *_: None)
    assert runner.log_requests == 1


def test_waits_for_many_jobs_read_each_log_once(connected: Connected) -> None:
    """However many others are read at the same time."""
    raw = b"".join(b"line %d\n" % number for number in range(2000))
    states = [State("running", raw[: len(raw) * part // 10]) for part in range(1, 11)]
    runner = ScriptedRunner([*states, State("succeeded", raw)])
    settings = replace(QUICK, max_logs=1)
    with runner.listening() as server:
        client, heard = connected(server.url, settings=settings), Heard()
        client.wait(JOB_ID, **heard.all)
    assert heard.lines == [f"stdout line {number}" for number in range(2000)]
    assert runner.bytes_sent == len(raw)


def test_an_error_of_the_one_who_listens_ends_the_wait(connected: Connected) -> None:
    def fail(*_: object) -> None:
        raise LookupError("mine")

    def stop(*_: object) -> None:
        raise StopIteration("mine")

    with ScriptedRunner([State("succeeded", b"a\n")]).listening() as server:
        with pytest.raises(LookupError, match="mine"):
            connected(server.url).wait(JOB_ID, on_line=fail)
        with pytest.raises(StopIteration, match="mine"):
            connect(server.url).wait(JOB_ID, on_line=stop)


# -- what does not end a wait

PASSING: dict[str, Action | bytes] = {
    "reset": Action.RESET,
    "closed": Action.CLOSE,
    "unavailable": json_response(503, documented("getJob", "stopping")),
    "a proxy's error": http_response(502, b"<p>"),
    "a proxy without a route": http_response(404, b"404 page not found\n"),
    "an error of the runner": json_response(500, documented("getJob", "internal-error")),
    "too many requests": http_response(429),
    "a page of HTML": http_response(200, b"<p>starting"),
    "another job": json_response(200, documented("getJob", "failed")),
    "cut off": http_response(200, b'{"ok": true', length=999),
}


@pytest.mark.parametrize("away", PASSING.values(), ids=PASSING)
def test_a_runner_that_does_not_respond_as_it_should_does_not_end_the_wait(
    connected: Connected, away: Action | bytes
) -> None:
    states: list[State | Action | bytes] = [RUNNING, away, away, away, ENDED]
    runner = ScriptedRunner(states, closes=True)
    with runner.listening() as server:
        assert connected(server.url, settings=QUICK).wait(JOB_ID).code == 0
    assert runner.polls == 5


def test_a_runner_that_stays_away_is_an_error_when_the_wait_is_over() -> None:
    settings = replace(QUICK, missing_output_seconds=0.05)
    heard = Heard()
    with (
        ScriptedRunner([RUNNING, Action.RESET]).listening() as server,
        pytest.raises(WaitTimedOut) as caught,
    ):
        ScriptRunner(server.url, settings=settings).wait(JOB_ID, timeout=0.5, **heard.all)
    assert caught.value.job.status == "running"
    begin = f"job job_1 at {server.url} was running when it was last seen, and 0.5 s are over. It "
    assert str(caught.value).startswith(
        f"{begin}may go on: {GO_ON} The last poll failed: GET /jobs/job_1 at {server.url}: "
    )
    # It is said once while it is away.
    [line] = heard.lines
    assert line.startswith("stderr … no response for 0.05 s, still waiting: GET /jobs/job_1 at ")


def test_a_runner_is_away_a_minute_after_its_last_response_and_that_is_said_each_time() -> None:
    away = [range(100, 130), range(200, 300), range(400, 500)]
    clock = Clock()
    said: list[float] = []
    wait = Wait(JOB_ID, 1e6, Settings(), "URL", "", str, None, {}, clock=clock.monotonic)
    steps = wait.steps(with_output=False)
    step = next(steps)
    while clock.now < 600:
        if isinstance(step, GetJob):
            if any(int(clock.now) in times for times in away):
                step = steps.throw(RunnerUnreachable("lost"))
            else:
                step = steps.send(Job.from_dict(documented("getJob", "running")))
            continue
        if isinstance(step, Sleep):
            clock.sleep(step.seconds)
        if isinstance(step, Notice):
            said.append(clock.now)
        step = next(steps)
    # It polls every 5 s.
    assert said == [pytest.approx(260, abs=5), pytest.approx(460, abs=5)]


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (Action.CLOSE, RunnerUnreachable),
        (json_response(503, documented("getJob", "stopping")), RequestRejected),
        (NOT_FOUND, RequestRejected),
        (http_response(200, b"<p>"), InvalidResponse),
    ],
    ids=["closed", "unavailable", "no such job", "no runner"],
)
def test_a_runner_that_never_responded_is_an_error_at_once(
    connected: Connected, first: Action | bytes, error: type[ScriptRunnerError]
) -> None:
    runner = ScriptedRunner([first, ENDED])
    with runner.listening() as server, pytest.raises(error):
        connected(server.url).wait(JOB_ID)
    assert runner.polls == 1


def test_a_job_that_the_runner_has_forgotten_ends_the_wait() -> None:
    runner = ScriptedRunner([RUNNING, NOT_FOUND, ENDED])
    with runner.listening() as server, pytest.raises(RequestRejected, match="JOB_NOT_FOUND"):
        ScriptRunner(server.url, settings=QUICK).wait(JOB_ID)
    assert runner.polls == 2


class BadLogs(ScriptedRunner):
    """A runner that responds to some of the requests for a log with something else."""

    def __init__(
        self, states: Sequence[State | Action | bytes], *logs: Action | bytes | None
    ) -> None:
        super().__init__(states)
        self._logs = list(logs)

    def _respond(self, request: Request) -> Iterator[Step]:
        bad = None
        if "/logs" in request.target and self._logs:
            bad = self._logs.pop(0) if len(self._logs) > 1 else self._logs[0]
        if bad == b"":
            return
        yield from super()._respond(request) if bad is None else [bad]


TEXT = b"a line\n" * 3
LINES = ["stdout a line"] * 3
GONE = json_response(404, documented("getJobLogs", "job-not-found"))
BAD_LOGS: dict[str, Action | bytes] = {
    "reset": Action.RESET,
    "deleted": GONE,
    "failed": json_response(500, documented("getJob", "internal-error")),
    "no page": http_response(200, b"<p>"),
    "another job's": json_response(200, documented("getJobLogs", "whole")),
}


@pytest.mark.parametrize("bad", BAD_LOGS.values(), ids=BAD_LOGS)
def test_a_log_that_cannot_be_read_does_not_end_the_wait(bad: Action | bytes) -> None:
    states = [State("running", TEXT), State("running", TEXT), State("succeeded", TEXT)]
    heard = Heard()
    with BadLogs(states, bad, None).listening() as server:
        job = ScriptRunner(server.url, settings=QUICK).wait(JOB_ID, **heard.all)
    # And what could not be read then is read later.
    assert (job.code, heard.lines) == (0, LINES)


@pytest.mark.parametrize("bad", BAD_LOGS.values(), ids=BAD_LOGS)
def test_a_job_that_has_ended_is_returned_although_its_log_cannot_be_read(
    bad: Action | bytes,
) -> None:
    settings = replace(QUICK, missing_output_seconds=0.05)
    heard = Heard()
    with BadLogs([State("succeeded", TEXT)], bad).listening() as server:
        job = ScriptRunner(server.url, settings=settings).wait(JOB_ID, **heard.all)
    assert (job.code, heard.lines[-1]) == (0, MISSING)


def test_a_log_that_is_shortened_does_not_end_the_wait() -> None:
    states = [State("running", TEXT), State("running", b"a"), State("succeeded", b"a new\n")]
    job, heard = waited(states)
    assert job.code == 0
    assert heard.lines == [
        *LINES,
        "stdout … the log was shortened here; lines may be missing.",
        "stdout  new",
    ]


# -- how long a wait takes as a whole

LAST = 0.3
"""How long the last poll may take."""

IN_TIME = replace(QUICK, last_poll_seconds=LAST)
SILENCE = b""


@pytest.fixture
def soon() -> Iterator[None]:
    """Check that a test ends long before one call may."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 10 < Settings().response_seconds


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(("seconds", "limit"), [(0, 0.3), (0.1, 0.3), (0.5, 0.5)])
def test_a_runner_that_is_silent_is_waited_for_no_longer_than_the_wait(
    connected: Connected, seconds: float, limit: float
) -> None:
    with ScriptedRunner([SILENCE]).listening() as server:
        with pytest.raises(RequestTimedOut) as caught:
            connected(server.url, settings=IN_TIME).wait(JOB_ID, timeout=seconds)
        assert str(caught.value) == (
            f"GET /jobs/job_1 at {server.url}: no whole response within {limit:g} s. "
            "Is the machine of the runner overloaded, or something else listening there?"
        )


@pytest.mark.usefixtures("soon")
def test_a_runner_that_falls_silent_is_waited_for_and_the_job_is_named() -> None:
    with ScriptedRunner([RUNNING, SILENCE]).listening() as server:
        with pytest.raises(WaitTimedOut) as caught:
            ScriptRunner(server.url, settings=IN_TIME).wait(JOB_ID, timeout=0.5)
        assert re.sub(r"within 0\.[345] s", "in time", str(caught.value)) == (
            f"job job_1 at {server.url} was running when it was last seen, and 0.5 s are over. It "
            f"may go on: {GO_ON} The last poll failed: GET /jobs/job_1 at {server.url}: no whole "
            "response in time. Is the machine of the runner overloaded, or something else listening"
            " there?"
        )


@pytest.mark.usefixtures("soon")
def test_a_log_that_does_not_come_is_waited_for_no_longer_than_the_wait() -> None:
    settings = replace(IN_TIME, response_seconds=0.2)
    heard = Heard()
    with BadLogs([State("running", TEXT)], SILENCE).listening() as server:
        runner = ScriptRunner(server.url, settings=settings)
        with pytest.raises(WaitTimedOut, match=r"is still running after 0\.5 s"):
            runner.wait(JOB_ID, timeout=0.5, **heard.all)
    with BadLogs([State("succeeded", TEXT)], SILENCE).listening() as server:
        runner = ScriptRunner(server.url, settings=settings)
        assert runner.wait(JOB_ID, timeout=0.5, **heard.all).code == 0
    assert heard.lines == [MISSING]


@pytest.mark.usefixtures("soon")
def test_a_log_without_end_is_read_no_longer_than_the_wait() -> None:
    """The log of a job that has ended, of which there is always more."""

    class Endless(ScriptedRunner):
        def _respond(self, request: Request) -> Iterator[Step]:
            time.sleep(0.01)
            self._last = replace(self._last, stdout=self._last.stdout + TEXT)
            yield from super()._respond(request)

    heard = Heard()
    with Endless([State("succeeded", TEXT)]).listening() as server:
        runner = ScriptRunner(server.url, settings=IN_TIME)
        assert runner.wait(JOB_ID, timeout=0.5, **heard.all).code == 0
    assert heard.lines[:3] == LINES


# -- real jobs


def test_a_wait_for_a_real_job_goes_on_across_a_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scripts = {"long": "#!/bin/sh\necho begun\nexec sleep 60\n"}
    with (
        RunnerProcess(tmp_path, scripts, server={"port": port}) as process,
        ThreadPoolExecutor(1) as threads,
    ):
        job_id, heard = process.submit("long"), Heard()
        waiting = threads.submit(connect(process.url).wait, job_id, timeout=60, **heard.all)
        wait_until(lambda: heard.lines)
        process.stop(signal.SIGKILL)
        assert not waiting.done()
        process.start()
        job = waiting.result(40)
    # The script did not outlive its runner; that is an end, and not an error.
    assert (job.job_id, job.status, job.code) == (job_id, "failed", -1)


def test_the_output_of_a_real_job_is_passed_on_soon(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    scripts = {"steps": f"#!/bin/sh\nfor i in 1 2 3; do echo $i; read _ <'{gate}'; done\n"}
    heard = Heard()
    with (
        RunnerProcess(tmp_path, scripts) as process,
        ThreadPoolExecutor(1) as threads,
        # For reading, too: to open it does not wait for a script that may have gone.
        gate.open("r+b", buffering=0) as held,
    ):
        job_id = process.submit("steps")
        waiting = threads.submit(connect(process.url).wait, job_id, timeout=60, **heard.all)
        for number in (1, 2, 3):
            wanted = [f"stdout {each}" for each in range(1, number + 1)]
            wait_until(partial(wanted.__eq__, heard.lines))
            held.write(b"\n")
        assert waiting.result(20).code == 0
