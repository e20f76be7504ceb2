"""Many at once: jobs, callers, sync runs that wait, a stop among them; a bounded history."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from local_runner.storage.retention import KEPT_SECONDS
from scripts.runner_process import RunnerProcess, ended_or_none
from scripts.waiting import wait_until
from tests.local_runner.history import (
    MOST_BYTES_OF_A_QUEUED_JOB,
    QUEUED,
    statuses_in_history,
)
from tests.local_runner.served import Caller

REPEATS = 50

SCRIPTS = {
    "prints": (
        "#!/bin/sh\nn=0\n"
        f'while [ $n -lt {REPEATS} ]; do n=$((n + 1)); echo "$n $1 $1 $1 $1"; done\n'
        'echo "end of $1" >&2\n'
    ),
    "waits": '#!/bin/sh\necho ready\nwhile [ ! -e "$1" ]; do sleep 0.02; done\necho seen\n',
    "quick": "#!/bin/sh\necho quick\n",
    "stubborn": "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.05; done\n",
}

CONNECTIONS = 16
MOST_SECONDS_OF_A_CALL = 3.0
"""What takes some milliseconds on an idle machine."""


def printed_for(arg: str) -> str:
    """The stdout of `prints`, some kilobytes."""
    return "".join(f"{n} {arg} {arg} {arg} {arg}\n" for n in range(1, REPEATS + 1))


def wait_until_accepted(runner: RunnerProcess, count: int) -> None:
    """Wait until that many jobs have been accepted beside those that are submitted meanwhile."""
    submitted = itertools.count(1)
    # The last part of an id counts the jobs.
    wait_until(lambda: int(runner.submit("quick").rpartition("_")[2]) >= count + next(submitted))


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Check how long something takes."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def test_five_hundred_jobs_of_many_callers_have_each_their_own_output(tmp_path: Path) -> None:
    def run(number: int) -> tuple[str, str, str, str]:
        job = runner.run("prints", f"job-{number}")
        return job["jobId"], job["status"], runner.log(job["jobId"]), job["stderrPreview"]

    with (
        RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 8}) as runner,
        ThreadPoolExecutor(32) as pool,
    ):
        jobs = list(pool.map(run, range(500)))

    assert len({job_id for job_id, *_ in jobs}) == 500
    assert [job[1:] for job in jobs] == [
        ("succeeded", printed_for(f"job-{number}"), f"end of job-{number}\n")
        for number in range(500)
    ]


async def submit_many(url: str, script_id: str, count: int) -> list[str]:
    """Submit jobs over HTTP, on a few connections that do not wait for the responses to go on."""
    address = httpx.URL(url)
    body = json.dumps({"scriptId": script_id, "mode": "async"}).encode()
    head = "POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def submit(share: int) -> list[str]:
        caller = Caller(*await asyncio.open_connection(address.host, address.port))
        caller.send(request * share)
        responses = [await caller.response() for _ in range(share)]
        caller.writer.close()
        assert {status for status, _ in responses} == {202}
        return [json.loads(response)["jobId"] for _, response in responses]

    shares = await asyncio.gather(*(submit(count // CONNECTIONS) for _ in range(CONNECTIONS)))
    return [job_id for share in shares for job_id in share]


async def test_ten_thousand_queued_jobs_are_light_and_in_nobodys_way(tmp_path: Path) -> None:
    settings = {"maxConcurrent": 2, "maxJobs": 2 * QUEUED}
    with RunnerProcess(tmp_path, SCRIPTS, runner=settings) as runner:
        process = psutil.Process(runner.pid)
        running = [runner.submit("waits", str(tmp_path / "never")) for _ in range(2)]
        before = process.memory_info().rss

        queued = await submit_many(runner.url, "quick", QUEUED)

        assert len(set(queued)) == QUEUED
        with at_most(MOST_SECONDS_OF_A_CALL):
            statuses = [runner.job(job_id)["status"] for job_id in (*running, queued[-1])]
        assert statuses == ["running", "running", "queued"]
        assert (process.memory_info().rss - before) / QUEUED < MOST_BYTES_OF_A_QUEUED_JOB
        with at_most(MOST_SECONDS_OF_A_CALL):
            assert runner.cancel(queued[-1])["status"] == "canceled"
        assert runner.stop() == 0

    # The two that ran, and the one that was cancelled while it was queued.
    assert statuses_in_history(tmp_path) == {"queued": QUEUED - 1, "canceled": 3}


def test_a_cancel_returns_while_three_hundred_sync_runs_wait(tmp_path: Path) -> None:
    args = [str(tmp_path / "gate")]

    def wait_for_a_run(_: int) -> dict[str, Any]:
        # Not one client for all: its pool would be what takes the time.
        body = {"scriptId": "waits", "args": args, "mode": "sync"}
        url = f"{runner.url}/run"
        response = httpx.post(url, json=body, timeout=60, trust_env=False, verify=False)
        return dict(response.raise_for_status().json())

    with (
        RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 4}) as runner,
        ThreadPoolExecutor(300) as pool,
    ):
        running = runner.submit("waits", *args)
        runner.printed(running, "ready")
        waiting = [pool.submit(wait_for_a_run, number) for number in range(300)]
        wait_until_accepted(runner, 301)
        queued = runner.submit("waits", *args)

        with at_most(MOST_SECONDS_OF_A_CALL):
            assert runner.cancel(queued)["status"] == "canceled"
        with at_most(MOST_SECONDS_OF_A_CALL):
            runner.cancel(running)
        assert runner.ended(running)["status"] == "canceled"
        assert not any(response.done() for response in waiting)

        (tmp_path / "gate").touch()
        jobs = [response.result() for response in waiting]

    assert len({job["jobId"] for job in jobs}) == 300
    assert {(job["status"], job["stdoutPreview"]) for job in jobs} == {
        ("succeeded", "ready\nseen\n")
    }


def test_a_client_that_hangs_up_does_not_end_its_job(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1}) as runner:
        body = {"scriptId": "waits", "args": [str(tmp_path / "gate")], "mode": "sync"}
        with pytest.raises(httpx.ReadTimeout):
            runner.http.post("/run", json=body, timeout=0.5)
        (left,) = wait_until(lambda: runner.http.get("/jobs").json()["jobs"])
        later = runner.submit("quick")
        assert runner.job(later)["status"] == "queued"

        (tmp_path / "gate").touch()
        runner.ended(later)

        job = runner.job(left["jobId"])
        assert (job["status"], job["mode"]) == ("succeeded", "sync")
        assert job["stdoutPreview"] == "ready\nseen\n"


def test_a_stop_responds_to_who_waits_and_takes_nothing_new(tmp_path: Path) -> None:
    def post(script_id: str, mode: str) -> httpx.Response:
        return runner.http.post("/run", json={"scriptId": script_id, "mode": mode})

    with (
        RunnerProcess(
            tmp_path, SCRIPTS, runner={"maxConcurrent": 1, "killGraceSeconds": 2}
        ) as runner,
        ThreadPoolExecutor() as pool,
    ):
        running = pool.submit(post, "stubborn", "sync")
        wait_until(lambda: psutil.Process(runner.pid).children())
        queued = pool.submit(post, "quick", "sync")
        wait_until_accepted(runner, 2)

        psutil.Process(runner.pid).terminate()
        refused = wait_until(lambda: post("quick", "async").json().get("error"))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{runner.url}/healthz", trust_env=False)
        exit_code = runner.wait()

        assert exit_code == 0
        response = running.result().json()
        assert (response["status"], response["code"]) == ("canceled", -1)
        assert queued.result().status_code == 503
        assert (
            "stays queued and runs when the runner is back"
            in queued.result().json()["error"]["message"]
        )
        assert refused == {
            "code": "UNAVAILABLE",
            "message": "the runner is stopping, the job was not accepted: try again later",
        }


def poll_until_it_is_gone(runner: RunnerProcess, job_id: str) -> set[int]:
    """Ask for a job again and again; returns the statuses of the responses."""
    statuses = set()
    with httpx.Client(base_url=runner.url, timeout=30, trust_env=False) as client:
        while True:
            try:
                statuses.add(client.get(f"/jobs/{job_id}").status_code)
            except httpx.TransportError:
                return statuses


def test_a_stop_is_not_held_up_by_those_who_ask(tmp_path: Path) -> None:
    with (
        RunnerProcess(tmp_path, SCRIPTS) as runner,
        ThreadPoolExecutor(8) as pool,
    ):
        job_id = runner.run("quick")["jobId"]
        asking = [pool.submit(poll_until_it_is_gone, runner, job_id) for _ in range(8)]
        logged = len(runner.events)
        wait_until(lambda: len(runner.events) > logged + 100)

        with at_most(MOST_SECONDS_OF_A_CALL):
            assert runner.stop() == 0

        statuses = set().union(*(each.result() for each in asking))
    assert statuses <= {200, 503}


def known(runner: RunnerProcess, job_ids: list[str]) -> list[str]:
    """Those of the jobs that the runner still has."""
    return [job_id for job_id in job_ids if runner.http.get(f"/jobs/{job_id}").is_success]


def log_files(folder: Path) -> set[str]:
    """The names of the log files."""
    return {path.name for path in (folder / "logs").iterdir()}


def test_the_oldest_ended_jobs_and_their_logs_go_first(tmp_path: Path) -> None:
    limits = {"maxJobs": 4, "maxConcurrent": 2}
    with RunnerProcess(tmp_path, SCRIPTS, runner=limits) as runner:
        oldest = runner.submit("waits", str(tmp_path / "gate"))
        jobs = [runner.run("quick")["jobId"] for _ in range(8)]
        kept = [oldest, *jobs[-3:]]
        assert known(runner, jobs) == jobs  # they have just ended
        wait_until(lambda: known(runner, [oldest, *jobs]) == kept, 3 * KEPT_SECONDS)

        assert runner.job(oldest)["status"] == "running"
        assert log_files(tmp_path) == {f"{job_id}.stdout.log" for job_id in kept}


def test_the_history_stays_bounded_when_many_jobs_end_at_once(tmp_path: Path) -> None:
    limits = {"maxJobs": 10, "maxConcurrent": 16}
    with RunnerProcess(tmp_path, SCRIPTS, runner=limits) as runner:

        def run(_: int) -> dict[str, Any]:
            return runner.run("quick")

        with ThreadPoolExecutor(16) as pool:
            jobs = list(pool.map(run, range(300)))
        assert all(map(ended_or_none, jobs))
        runner.stop()

    assert statuses_in_history(tmp_path) == {"succeeded": 10}
    assert len(log_files(tmp_path)) == 10
