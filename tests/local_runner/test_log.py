"""The log when nobody reads it: the runner goes on, and says afterwards what is missing."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from local_runner.log import MAX_WAITING_CHARACTERS
from scripts.runner_process import RunnerProcess, ended_or_none
from scripts.waiting import wait_until

PIPE_BYTES = 65536
LONG = "x" * 50_000
"""A path that makes a line of the log nearly as long as a pipe."""

FILL_THE_PIPE = 3
FILL_ALL = MAX_WAITING_CHARACTERS // len(LONG) + 10
END_SECONDS = 20.0


class Unread:
    """A runner whose stderr is read only as far as the line that says where it listens."""

    def __init__(self, folder: Path, *options: str) -> None:
        scripts = {"waits": "#!/bin/sh\nexec sleep 60\n"}
        written = RunnerProcess(folder, scripts, rules={"waits": {"timeoutSec": 1}})
        self.process = subprocess.Popen(
            [*written.command, *options], stderr=subprocess.PIPE, bufsize=0
        )
        assert self.process.stderr is not None
        self.stderr = self.process.stderr
        self.said = b""
        while not (found := re.search(rb'"url": "([^"]+)"', self.said)):
            self.said += self.stderr.read(1000)
        self.http = httpx.Client(base_url=found[1].decode(), timeout=END_SECONDS)

    def fill(self, requests: int) -> None:
        """Have so many long lines logged."""
        for number in range(requests):
            assert self.http.get(f"/{number}/{LONG}").status_code == 404

    def rest(self) -> list[dict[str, object]]:
        """All lines of the log, once the runner has ended."""
        self.said += self.stderr.read()
        return [json.loads(line) for line in self.said.splitlines()]


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Unread]:
    runner = Unread(tmp_path)
    try:
        yield runner
    finally:
        runner.process.kill()
        runner.process.wait()
        runner.http.close()
        runner.stderr.close()


def test_a_stderr_that_nobody_reads_stops_nothing(unread: Unread) -> None:
    unread.fill(FILL_ALL)

    body = {"scriptId": "waits", "mode": "async"}
    job_id = unread.http.post("/run", json=body).json()["jobId"]
    job = wait_until(lambda: ended_or_none(unread.http.get(f"/jobs/{job_id}").json()))

    assert job["status"] == "timed_out"
    unread.process.send_signal(signal.SIGTERM)
    assert unread.process.wait(END_SECONDS) == 0


def test_lines_that_nobody_read_in_time_are_counted_and_the_count_is_said(unread: Unread) -> None:
    unread.fill(FILL_ALL)
    while b"were dropped" not in unread.said:
        assert select.select([unread.stderr], [], [], END_SECONDS)[0], "no line was dropped"
        unread.said += os.read(unread.stderr.fileno(), PIPE_BYTES)
    unread.process.send_signal(signal.SIGTERM)

    events = unread.rest()

    (gap,) = [number for number, line in enumerate(events) if line["event"] == "warning"]
    before, after = (
        [int(str(line["path"]).split("/")[1]) for line in part if line["event"] == "request"]
        for part in (events[:gap], events[gap:])
    )
    assert before == list(range(len(before)))
    assert after == list(range(FILL_ALL - len(after), FILL_ALL))
    dropped = FILL_ALL - len(before) - len(after)
    assert dropped > 0
    assert events[gap]["message"] == (
        f"{dropped} lines of the log were dropped: nobody read stderr in time"
    )


def test_what_waits_is_written_when_the_runner_stops(unread: Unread) -> None:
    unread.fill(FILL_THE_PIPE)
    unread.process.send_signal(signal.SIGTERM)

    events = unread.rest()

    assert unread.process.wait(END_SECONDS) == 0
    assert [line["event"] for line in events] == [
        "listening",
        *["request"] * FILL_THE_PIPE,
        "stopping",
        "stopped",
    ]


def test_a_runner_without_stderr_serves_and_keeps_its_history_whole(tmp_path: Path) -> None:
    """One of its files may have the number of the stderr that it does not have."""
    runner = RunnerProcess(tmp_path, {"hello": "#!/bin/sh\necho hello\n"})
    process = subprocess.Popen(["sh", "-c", 'exec "$@" 2>&-', "sh", *runner.command])
    try:
        (listening,) = wait_until(psutil.Process(process.pid).net_connections)
        url = f"http://127.0.0.1:{listening.laddr.port}"
        body = {"scriptId": "hello", "mode": "sync"}
        response = httpx.post(f"{url}/run", json=body, timeout=END_SECONDS)
        assert response.json()["stdoutPreview"] == "hello\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as history:
        assert history.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    history.close()


FAILS = """
from local_runner import log

with log.to_stderr("json"):
    try:
        {}["gone"]
    except KeyError:
        log.failure("job_1 failed in the runner")
"""


def test_an_exception_that_nobody_foresaw_is_logged_with_where_it_came_from() -> None:
    ended = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, check=True)

    (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert line["event"] == "error"
    message, _, trace = line["message"].partition("\n")
    assert message == "job_1 failed in the runner"
    assert trace.startswith("Traceback ")
    assert trace.endswith("KeyError: 'gone'")


LOGS_WHILE_IT_LOGS = """
import logging, time
from local_runner import log

now = time.time

def collect_garbage():
    time.time = now
    logging.getLogger("asyncio").error("an exception was never retrieved")
    return now()

with log.to_stderr("json"):
    time.time = collect_garbage
    log.event("request")
"""


def test_a_finalizer_that_logs_while_a_line_is_taken_hangs_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOGS_WHILE_IT_LOGS], capture_output=True, timeout=END_SECONDS
    )

    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert sorted(events) == ["error", "request"]


PYTHON_COMPLAINS = """
from local_runner import log

class Thing:
    def __del__(self):
        raise KeyError("gone")

async def forgotten():
    pass

with log.to_stderr("json"):
    Thing()
    forgotten()
"""


def test_what_python_itself_complains_of_goes_the_way_of_the_log() -> None:
    """Written to stderr at once it would have the event loop wait for whoever reads that."""
    ended = subprocess.run([sys.executable, "-c", PYTHON_COMPLAINS], capture_output=True)

    ignored, warned = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ignored["message"].startswith("exception ignored in <function Thing.__del__ at ")
    assert ignored["message"].endswith("KeyError: 'gone'")
    assert "coroutine 'forgotten' was never awaited" in warned["message"]
