"""No open files left: said, without a flood of it, and got over."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local_runner import server
from tests.local_runner.limits import assert_works, limited, needs_prlimit
from tests.runner_process import RunnerProcess
from tests.waiting import wait_until

OUT_OF_FILES = os.strerror(errno.EMFILE)
SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "touches": '#!/bin/sh\ntouch "$1"\n',
    "stubborn": "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n",
}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    settings = {"maxConcurrent": 2, "killGraceSeconds": 2.5}
    with RunnerProcess(tmp_path, SCRIPTS, runner=settings) as started:
        yield started


def open_files_of(runner: RunnerProcess) -> int:
    """How many files the runner has open once it is warm."""
    runner.run("hello", "warm")
    return psutil.Process(runner.pid).num_fds()


@needs_prlimit
def test_without_open_files_it_says_so_and_works_again_with_them(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    earlier = runner.run("hello")["jobId"]

    with limited(runner, "RLIMIT_NOFILE", open_files_of(runner)):
        job = runner.run("touches", str(tmp_path / "ran"))
        logs = runner.http.get(f"/jobs/{earlier}/logs")
        status = runner.job(earlier)["status"]

    assert (job["status"], job["code"], status) == ("failed", -1, "succeeded")
    assert os.strerror(errno.EMFILE) in job["stderrPreview"]
    assert not (tmp_path / "ran").exists()
    message = f"the runner is out of resources ({os.strerror(errno.EMFILE)}): try again"
    assert logs.status_code == 503
    assert logs.json()["error"] == {"code": "UNAVAILABLE", "message": message}
    assert_works(runner)


@needs_prlimit
def test_a_job_ran_exactly_if_it_succeeded(runner: RunnerProcess, tmp_path: Path) -> None:
    open_files = open_files_of(runner)
    statuses = []
    for spare in range(14):
        ran = tmp_path / f"ran-{spare}"
        with limited(runner, "RLIMIT_NOFILE", open_files + spare):
            job = runner.run("touches", str(ran))
        statuses.append(job["status"])
        assert ran.exists() == (job["status"] == "succeeded")
        assert psutil.Process(runner.pid).children() == []

    assert (statuses[0], statuses[-1]) == ("failed", "succeeded")
    wait_until(lambda: psutil.Process(runner.pid).num_fds() == open_files)


@needs_prlimit
def test_a_connection_that_cannot_be_accepted_is_later_and_does_not_flood_the_log(
    runner: RunnerProcess,
) -> None:
    open_files = open_files_of(runner)
    logged = len(runner.events)
    port = httpx.URL(runner.url).port or 80
    with limited(runner, "RLIMIT_NOFILE", open_files):
        caller = socket.create_connection(("127.0.0.1", port), timeout=20)
        # Once the second is answered the runner has tried to accept the caller.
        for _ in range(2):
            assert runner.http.get("/healthz").is_success
        logged = len(runner.events) - logged

    with caller:
        caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert caller.recv(1024).startswith(b"HTTP/1.1 200 ")
    assert logged < 100


@needs_prlimit
def test_a_stop_without_open_files_says_so_once_a_second_and_no_more(
    runner: RunnerProcess,
) -> None:
    open_files = open_files_of(runner)
    runner.printed(runner.submit("stubborn"), "ready")
    address = ("127.0.0.1", httpx.URL(runner.url).port or 80)
    with limited(runner, "RLIMIT_NOFILE", open_files), socket.create_connection(address):
        for _ in range(2):
            assert runner.http.get("/healthz").is_success
        logged = len(runner.events)
        # While it waits for the script asyncio comes back to the listener, which is closed.
        assert runner.stop() == 0

    said = [event for event in runner.events[logged:] if event["event"] != "request"]
    complaints = [event["message"] for event in said if event["event"] == "error"]
    assert set(complaints) <= {f"callers have to wait: {OUT_OF_FILES}"}
    assert len(complaints) <= 3
    kinds = [event["event"] for event in said if event["event"] != "error"]
    assert kinds == ["stopping", "job_end", "stopped"]


async def complaints_of(failures: list[Exception], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged of callbacks that fail."""

    def fail(failure: Exception) -> None:
        raise failure

    loop = asyncio.get_running_loop()
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.set_exception_handler(server._LoopErrors(listener))
        for failure in failures:
            loop.call_soon(fail, failure)
        await asyncio.sleep(0)
    return [record.message.partition("(")[0] for record in caplog.records]


async def test_a_failure_of_another_callback_is_not_called_a_caller_that_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = await complaints_of([OSError(errno.EMFILE, OUT_OF_FILES)], caplog)

    assert said == ["Exception in callback complaints_of.<locals>.fail"]


async def test_the_same_complaint_is_logged_once_and_another_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [*[ValueError(f"number {n}") for n in range(1000)], TypeError("another")]

    said = await complaints_of(failures, caplog)

    assert said == ["Exception in callback complaints_of.<locals>.fail"] * 2
