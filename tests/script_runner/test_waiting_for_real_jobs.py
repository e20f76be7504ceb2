"""Waiting for jobs of a local runner: real scripts, real signals, a real restart."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from generated_client.api.jobs import cancel_job
from generated_client.models import Job
from script_runner import (
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    connect,
    exit_code_of,
    status_of,
    wait_for_job,
)
from tests.support.misbehaving_server import MisbehavingServer
from tests.support.runner_process import RunnerProcess
from tests.support.waiting import wait_until

# A script goes on when the file that its argument names is there.
GATE = 'while [ ! -e "$1" ]; do sleep 0.02; done'
SCRIPTS = {
    "steps": f"#!/bin/sh\necho one; echo oops >&2\n{GATE}\necho two; echo again >&2; exit 3\n",
    "half": f"#!/bin/sh\nprintf hal\n{GATE}\nprintf 'f\\nend'\n",
    "sleep": "#!/bin/sh\necho started; sleep 60\n",
    "lines": "#!/bin/sh\nseq 1 2500\n",
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(tmp_path_factory.mktemp("runner"), SCRIPTS) as process:
        yield process


def test_lines_are_passed_on_while_the_script_runs(process: RunnerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    passed: list[tuple[str, str]] = []

    def on_line(line: str, stream: str) -> None:
        passed.append((stream, line))
        if {("stdout", "one"), ("stderr", "oops")} <= set(passed):
            # Only now can the script go on.
            gate.touch()

    job_id = process.submit("steps", str(gate))
    job = wait_for_job(connect(process.url), job_id, timeout_seconds=20, on_line=on_line)
    assert (status_of(job.status), exit_code_of(job)) == ("failed", 3)
    assert [line for stream, line in passed if stream == "stdout"] == ["one", "two"]
    assert [line for stream, line in passed if stream == "stderr"] == ["oops", "again"]


def test_half_a_line_of_a_running_script_is_not_passed_on(
    process: RunnerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    passed: list[str] = []

    def on_look(job: Job, _: float) -> None:
        if job.stdout_size:
            gate.touch()

    wait_for_job(
        connect(process.url),
        process.submit("half", str(gate)),
        timeout_seconds=20,
        on_line=lambda line, _: passed.append(line),
        on_look=on_look,
    )
    assert passed == ["half", "end"]


def test_the_lines_of_a_talkative_script_are_passed_on_up_to_a_number(
    process: RunnerProcess,
) -> None:
    passed: list[str] = []
    wait_for_job(
        connect(process.url),
        process.submit("lines"),
        timeout_seconds=20,
        on_line=lambda line, _: passed.append(line),
    )
    note = "… 2000 lines are shown here; get-job-logs has them all."
    assert passed == [*map(str, range(1, 2001)), note]


def test_a_script_that_goes_on_is_an_error_on_the_deadline_and_still_runs(
    process: RunnerProcess,
) -> None:
    job_id = process.submit("sleep")
    process.printed(job_id, "started")
    begun = time.monotonic()
    with pytest.raises(RequestTimedOut) as caught:
        wait_for_job(connect(process.url), job_id, timeout_seconds=0.3)
    assert 0.3 <= time.monotonic() - begun < 5
    assert str(caught.value) == (
        f"job {job_id} at {process.url} is still running after 0.3 s. It goes on: wait again with "
        "a larger timeout_seconds, look at it with get-job-status, or end it with cancel-job."
    )
    assert process.job(job_id)["status"] == "running"
    process.cancel(job_id)


def test_a_cancel_ends_the_wait(process: RunnerProcess) -> None:
    job_id = process.submit("sleep")
    runner = connect(process.url)

    def cancel(*_: object) -> None:
        runner.call(cancel_job, job_id)

    # The first line is a sign that somebody waits.
    job = wait_for_job(runner, job_id, timeout_seconds=20, on_line=cancel)
    assert (status_of(job.status), exit_code_of(job)) == ("cancelled", None)


def test_many_threads_wait_for_the_same_job(process: RunnerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = process.submit("steps", str(gate))
    lines: list[list[str]] = [[] for _ in range(8)]

    def wait(mine: list[str]) -> int | None:
        job = wait_for_job(
            connect(process.url),
            job_id,
            timeout_seconds=20,
            on_line=lambda line, _: mine.append(line),
        )
        return job.code

    with ThreadPoolExecutor(8) as threads:
        codes = threads.map(wait, lines)
        wait_until(lambda: all(lines))
        gate.touch()
        assert list(codes) == [3] * 8
    assert [sorted(each) for each in lines] == [["again", "one", "oops", "two"]] * 8


def test_a_job_that_is_not_there_is_rejected_at_once(process: RunnerProcess) -> None:
    begun = time.monotonic()
    with pytest.raises(RequestRejected) as caught:
        wait_for_job(connect(process.url), "nope")
    assert (caught.value.status_code, caught.value.code) == (404, "JOB_NOT_FOUND")
    assert time.monotonic() - begun < 5


def test_a_wrong_url_is_an_error_at_once() -> None:
    with MisbehavingServer(lambda _: []) as gone:
        pass
    begun = time.monotonic()
    with pytest.raises(RunnerUnreachable, match="Is script-runner running there"):
        wait_for_job(connect(gone.url), "job_1")
    assert time.monotonic() - begun < 5


def test_a_wait_outlives_a_runner_that_is_killed_and_started_again(tmp_path: Path) -> None:
    with MisbehavingServer(lambda _: []) as free:
        pass
    process = RunnerProcess(tmp_path, SCRIPTS, server={"port": free.port})
    seen: list[str] = []
    with process, ThreadPoolExecutor(1) as threads:
        job_id = process.submit("sleep")
        waiting = threads.submit(
            wait_for_job,
            connect(process.url),
            job_id,
            timeout_seconds=30,
            on_line=lambda line, _: seen.append(line),
        )
        wait_until(lambda: seen)
        process.stop(signal.SIGKILL)
        assert not waiting.done()
        process.start()
        job = waiting.result(20)
    # The script did not outlive its runner; that is an end, and not an error.
    assert (job.job_id, status_of(job.status), exit_code_of(job)) == (job_id, "failed", -1)
