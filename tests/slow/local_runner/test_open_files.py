"""No file can be opened any more: new runs are refused, accepted ones wait, all works later."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local_runner.http import server
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.limits import assert_works, limited, needs_prlimit
from tests.support.processes import processes_of

pytestmark = needs_prlimit

SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "touches": '#!/bin/sh\ntouch "$1"\n',
    "waits": '#!/bin/sh\nwhile [ ! -e "$1" ]; do sleep 0.02; done\n',
    "stubborn": "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n",
    "family": "#!/bin/sh\n(trap '' TERM; sleep 300) &\necho ready\nsleep 300\n",
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


def post_run(runner: RunnerProcess, script_id: str, *args: str, mode: str) -> httpx.Response:
    """Ask for a run that may be refused."""
    return runner.http.post("/run", json={"scriptId": script_id, "args": args, "mode": mode})


TOO_MANY = os.strerror(errno.EMFILE)
OUT_OF_FILES = {
    "code": "UNAVAILABLE",
    "message": f"the runner is out of resources ({TOO_MANY}): try again",
}


def test_without_open_files_it_says_so_and_works_again_with_them(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    earlier = runner.run("hello")["jobId"]
    kept = open_files_of(runner)
    logs = {path.name for path in (tmp_path / "logs").iterdir()}

    with limited(runner, "RLIMIT_NOFILE", kept):
        refused = [
            post_run(runner, "touches", str(tmp_path / "ran"), mode=mode)
            for mode in ("sync", "async")
        ]
        refused.append(runner.http.get(f"/jobs/{earlier}/logs"))
        asked = [runner.job(earlier)["status"], runner.cancel(earlier)["status"]]

    for response in refused:
        assert (response.status_code, response.json()["error"]) == (503, OUT_OF_FILES)
    assert asked == ["succeeded", "succeeded"]
    assert not (tmp_path / "ran").exists()
    assert {path.name for path in (tmp_path / "logs").iterdir()} == logs
    assert_works(runner)
    runner.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as history:
        recorded = history.execute("SELECT count(*) FROM jobs WHERE script_id = 'touches'")
        assert recorded.fetchone() == (0,)


def test_a_job_ran_exactly_if_it_succeeded_and_is_refused_where_it_cannot(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    open_files = open_files_of(runner)
    codes = []
    for spare in range(14):
        ran = tmp_path / f"ran-{spare}"
        with limited(runner, "RLIMIT_NOFILE", open_files + spare):
            response = post_run(runner, "touches", str(ran), mode="sync")
        codes.append(response.status_code)
        assert ran.exists() == (response.status_code == 200)
        assert response.json().get("status") == ("succeeded" if ran.exists() else None)
        assert psutil.Process(runner.pid).children() == []

    assert (codes[0], codes[-1]) == (503, 200)
    wait_until(lambda: psutil.Process(runner.pid).num_fds() == open_files)


def test_accepted_jobs_wait_until_there_are_open_files_again(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    gate, open_files = tmp_path / "gate", open_files_of(runner)
    running = [runner.submit("waits", str(gate)) for _ in range(2)]
    queued = [runner.submit("touches", str(tmp_path / f"ran-{number}")) for number in range(3)]

    with limited(runner, "RLIMIT_NOFILE", open_files):
        gate.touch()
        assert [runner.ended(job_id)["status"] for job_id in running] == ["succeeded"] * 2
        wait_until(
            lambda: any("has to wait" in event.get("message", "") for event in runner.events)
        )
        cancelled = runner.submit("touches", str(tmp_path / "cancelled"))
        assert runner.cancel(cancelled)["status"] == "canceled"

    assert [runner.ended(job_id)["status"] for job_id in queued] == ["succeeded"] * 3
    assert [(tmp_path / f"ran-{number}").exists() for number in range(3)] == [True] * 3
    assert not (tmp_path / "cancelled").exists()


def test_a_job_that_waits_for_open_files_can_be_cancelled(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    gate, open_files = tmp_path / "gate", open_files_of(runner)
    for _ in range(2):
        runner.submit("waits", str(gate))
    waiting = runner.submit("touches", str(tmp_path / "ran"))

    with limited(runner, "RLIMIT_NOFILE", open_files):
        gate.touch()
        wait_until(
            lambda: any("has to wait" in event.get("message", "") for event in runner.events)
        )
        runner.cancel(waiting)
        assert runner.ended(waiting)["status"] == "canceled"

    assert not (tmp_path / "ran").exists()
    assert_works(runner)


def test_a_cancel_without_open_files_ends_the_script_and_its_children(
    runner: RunnerProcess,
) -> None:
    job_id = runner.submit("family")
    runner.printed(job_id, "ready")

    with limited(runner, "RLIMIT_NOFILE", psutil.Process(runner.pid).num_fds()):
        runner.cancel(job_id)
        job = runner.ended(job_id)

    assert (job["status"], job["code"], processes_of(job_id)) == ("canceled", -1, [])
    assert_works(runner)


def test_a_connection_that_cannot_be_accepted_is_later_and_does_not_flood_the_log(
    runner: RunnerProcess,
) -> None:
    open_files = open_files_of(runner)
    logged = len(runner.logged())
    port = httpx.URL(runner.url).port or 80
    with limited(runner, "RLIMIT_NOFILE", open_files):
        caller = socket.create_connection(("127.0.0.1", port), timeout=20)
        # Once the second has its response the runner has tried to accept the caller.
        for _ in range(2):
            assert runner.http.get("/healthz").is_success
        logged = len(runner.logged()) - logged

    with caller:
        caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert caller.recv(1024).startswith(b"HTTP/1.1 200 ")
    assert logged < 100


def test_a_stop_without_open_files_says_so_once_a_second_and_no_more(
    runner: RunnerProcess,
) -> None:
    open_files = open_files_of(runner)
    runner.printed(runner.submit("stubborn"), "ready")
    address = ("127.0.0.1", httpx.URL(runner.url).port or 80)
    with limited(runner, "RLIMIT_NOFILE", open_files), socket.create_connection(address):
        for _ in range(2):
            assert runner.http.get("/healthz").is_success
        logged = len(runner.logged())
        # While it waits for the script asyncio comes back to the listener, which is closed.
        assert runner.stop() == 0

    said = [event for event in runner.events[logged:] if event["event"] != "request"]
    complaints = [event["message"] for event in said if event["event"] == "error"]
    assert set(complaints) <= {f"callers have to wait: {TOO_MANY}"}
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
    said = await complaints_of([OSError(errno.EMFILE, TOO_MANY)], caplog)

    assert said == ["Exception in callback complaints_of.<locals>.fail"]


async def test_the_same_complaint_is_logged_once_and_another_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [*[ValueError(f"number {n}") for n in range(1000)], TypeError("another")]

    said = await complaints_of(failures, caplog)

    assert said == ["Exception in callback complaints_of.<locals>.fail"] * 2
