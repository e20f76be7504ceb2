"""How jobs end if the runner is slow, if processes leave, if a cancel comes at a bad moment."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import functools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from local_runner.config import load
from local_runner.processes.output import Output
from local_runner.storage.disk import Disk
from local_runner.storage.job_logs import JobLogs
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.support.processes import processes_of

GRACE_SECONDS = 0.5
LIMIT_SECONDS = 2

UNTIL_FILE = 'while [ ! -e "$1" ]; do sleep 0.02; done'
STAYS = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
DAEMON = f"""#!{sys.executable}
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("ready", flush=True)
        time.sleep(300)
    os._exit(0)
time.sleep(300)
"""
LEAVERS = {
    "timeout": "#!/bin/sh\ntimeout 60 sh -c 'echo ready; sleep 300; :'\n",
    "set-m": "#!/bin/bash\nset -m\nsh -c 'echo ready; sleep 300; :' &\nwait\n",
    "setsid": "#!/bin/sh\nsetsid sh -c 'echo ready; sleep 300; :' &\nwait\n",
    "stubborn": f'#!/bin/sh\nsetsid sh -c "{STAYS}" &\nwait\n',
    "daemon": DAEMON,
}
SCRIPTS = {
    **LEAVERS,
    "waits": f"#!/bin/sh\necho ready\n{UNTIL_FILE}\necho done\n",
    "tidies": (
        "#!/bin/sh\ntrap 'timeout 5 sh -c \"sleep 0.2; echo tidy\"; exit 0' TERM\n"
        "echo ready\nwhile :; do sleep 0.02; done\n"
    ),
    "serves": '#!/bin/sh\n(while :; do echo tick; echo x >> "$1"; sleep 0.05; done) &\necho on\n',
    "floods": '#!/bin/sh\n(yes; echo died >> "$1") 2>/dev/null &\necho on\n',
    "holds": "#!/bin/sh\nsleep 300 &\necho ready\nexit 3\n",
    "stays": f"#!/bin/sh\n{STAYS}\n",
    "touches": '#!/bin/sh\ntouch "$1"\n',
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    folder = tmp_path_factory.mktemp("ends")
    settings = {"killGraceSeconds": GRACE_SECONDS, "maxConcurrent": 8}
    limited = {"timeoutSec": LIMIT_SECONDS}
    rules = dict.fromkeys(("waits", *LEAVERS), limited)
    with RunnerProcess(folder, SCRIPTS, runner=settings, rules=rules) as started:
        yield started


def submit(runner: RunnerProcess, script_id: str, *args: str) -> str:
    """Start a job and wait until it has printed `ready`."""
    job_id = runner.submit(script_id, *args)
    runner.printed(job_id, "ready")
    return job_id


def end_processes_of(job_id: str) -> list[psutil.Process]:
    """Kill what is left of a job; returns what that was."""
    left = processes_of(job_id)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended when another did
            process.kill()
    return left


# -- a runner that stood still


class Frozen:
    """A runner that stands still while the block runs, as by Ctrl-Z."""

    def __init__(self, runner: RunnerProcess) -> None:
        self._process = psutil.Process(runner.pid)

    def __enter__(self) -> None:
        self._process.suspend()
        wait_until(lambda: self._process.status() == psutil.STATUS_STOPPED)

    def __exit__(self, *_: object) -> None:
        self._process.resume()


def wait_until_scripts_ended(runner: RunnerProcess, count: int) -> None:
    """Wait until so many scripts have ended that the runner has not looked at yet."""

    def ended() -> int:
        children = psutil.Process(runner.pid).children()
        return sum(child.status() == psutil.STATUS_ZOMBIE for child in children)

    wait_until(lambda: ended() == count)


def test_a_script_that_ended_in_time_is_not_timed_out_by_a_runner_that_stood_still(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    jobs = [submit(runner, "waits", str(tmp_path / "gate")) for _ in range(4)]

    with Frozen(runner):
        (tmp_path / "gate").touch()
        wait_until_scripts_ended(runner, 4)
        time.sleep(LIMIT_SECONDS)  # their limit passes

    ended = [runner.ended(job_id) for job_id in jobs]
    assert [(job["status"], job["code"]) for job in ended] == [("succeeded", 0)] * 4
    assert [job["stdoutPreview"] for job in ended] == ["ready\ndone\n"] * 4


def test_a_cancel_of_what_has_ended_unseen_returns_its_end(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    job_id = submit(runner, "waits", str(tmp_path / "gate"))

    with ThreadPoolExecutor() as pool:
        with Frozen(runner):
            (tmp_path / "gate").touch()
            wait_until_scripts_ended(runner, 1)
            cancel = pool.submit(runner.cancel, job_id)
        response = cancel.result()

    assert (response["status"], response["code"]) == ("succeeded", 0)
    assert runner.job(job_id) == response


def test_a_stop_records_what_has_ended_unseen_as_it_ended(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        job_id = submit(runner, "waits", str(tmp_path / "gate"))
        with Frozen(runner):
            (tmp_path / "gate").touch()
            wait_until_scripts_ended(runner, 1)
            os.kill(runner.pid, signal.SIGTERM)
        assert runner.wait() == 0

        runner.start()
        assert runner.job(job_id)["status"] == "succeeded"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="only Linux has pipes of any size")
async def test_what_is_in_the_pipe_at_the_deadline_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"runner": {"logsDir": "."}, "scripts": [{"id": "a", "path": "./a"}]})
    )
    logs = JobLogs("job_1", load(tmp_path / "config.json").runner, Disk())
    to_read, to_write = os.pipe()
    os.set_blocking(to_read, False)
    fcntl.fcntl(to_write, fcntl.F_SETPIPE_SZ, 2**20)
    assert os.write(to_write, b"x" * 1_000_000) == 1_000_000
    output = Output({"stdout": to_read}, logs)

    # Somebody holds it open, and the runner was slow: the time is over.
    await output.collect(0)
    output.close()
    await logs.close()

    os.close(to_write)
    assert (tmp_path / "job_1.stdout.log").read_bytes() == b"x" * 1_000_000


# -- output after the end


def lines(path: Path) -> int:
    """How many lines a file has; 0 if it is not there."""
    return path.read_text().count("\n") if path.exists() else 0


def test_a_process_that_is_left_alone_goes_on_and_what_it_prints_is_missed(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    ticks = tmp_path / "ticks"
    job = runner.run("serves", str(ticks))
    job_id, at_the_end = job["jobId"], lines(ticks)

    # More than a pipe would let pass that nobody reads.
    wait_until(lambda: lines(ticks) > at_the_end + 20)
    later = wait_until(lambda: truncated_or_none(runner.job(job_id)))
    log = runner.log(job_id)
    truncated = runner.http.get(f"/jobs/{job_id}/logs").json()["truncated"]

    assert end_processes_of(job_id)
    assert (job["status"], log[:8], truncated) == ("succeeded", "on\ntick\n", True)
    assert log == job["stdoutPreview"] == later["stdoutPreview"]
    assert (later["stdoutTruncated"], later["stderrTruncated"]) == (True, False)


def truncated_or_none(job: dict[str, object]) -> dict[str, object] | None:
    """A job of which something was thrown away."""
    return job if job["stdoutTruncated"] else None


def test_a_flood_of_a_process_that_is_left_alone_costs_little(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    job = runner.run("floods", str(tmp_path / "died"))
    process = psutil.Process(runner.pid)
    wait_until(lambda: truncated_or_none(runner.job(job["jobId"])))
    before, used = process.memory_info().rss, sum(process.cpu_times()[:2])

    time.sleep(1)

    used = sum(process.cpu_times()[:2]) - used
    assert end_processes_of(job["jobId"])
    assert not (tmp_path / "died").exists()
    assert process.memory_info().rss - before < 10_000_000
    assert used < 0.5  # a reader that never rests takes all of the second


def test_a_silent_process_that_is_left_alone_makes_no_log_truncated(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    job = runner.run("holds")
    floods = runner.run("serves", str(tmp_path / "ticks"))
    wait_until(lambda: truncated_or_none(runner.job(floods["jobId"])))

    assert end_processes_of(job["jobId"])
    assert end_processes_of(floods["jobId"])
    assert runner.job(job["jobId"]) == job
    assert (job["code"], job["stdoutTruncated"]) == (3, False)


# -- what leaves the group of its job


@pytest.mark.parametrize("script", LEAVERS)
def test_a_cancel_ends_what_has_left_the_group(runner: RunnerProcess, script: str) -> None:
    job_id = submit(runner, script)

    assert runner.cancel(job_id)["status"] == "running"

    assert runner.ended(job_id)["status"] == "canceled"
    assert processes_of(job_id) == []


@pytest.mark.parametrize("script", LEAVERS)
def test_a_time_limit_ends_what_has_left_the_group(runner: RunnerProcess, script: str) -> None:
    job = runner.run(script)

    assert (job["status"], processes_of(job["jobId"])) == ("timed_out", [])


def test_a_stop_ends_what_has_left_the_group(tmp_path: Path) -> None:
    settings = {"killGraceSeconds": GRACE_SECONDS, "maxConcurrent": 8}
    with RunnerProcess(tmp_path, SCRIPTS, runner=settings) as runner:
        jobs = [submit(runner, script) for script in LEAVERS]
        assert runner.stop() == 0

    assert [processes_of(job_id) for job_id in jobs] == [[]] * len(LEAVERS)


def test_a_second_signal_ends_at_once_what_has_left_the_group(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS, runner={"killGraceSeconds": 300}) as runner:
        job_id = submit(runner, "stubborn")
        os.kill(runner.pid, signal.SIGTERM)
        wait_until(lambda: any(event["event"] == "stopping" for event in runner.events))
        assert runner.stop() == 0

    assert processes_of(job_id) == []


def test_a_second_signal_hurries_after_the_script_itself_has_ended(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS, runner={"killGraceSeconds": 300}) as runner:
        job_id = submit(runner, "stubborn")
        os.kill(runner.pid, signal.SIGTERM)
        # `sh` and its `sleep` are left, which have left the session of the script.
        path = str(tmp_path / "stubborn.sh")
        wait_until(lambda: not any(path in words(process) for process in processes_of(job_id)))
        assert runner.stop() == 0

    assert processes_of(job_id) == []


def words(process: psutil.Process) -> list[str]:
    """The command line of a process; empty if it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_what_a_script_starts_to_tidy_up_has_the_grace(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS, runner={"killGraceSeconds": 5}) as runner:
        job_id = submit(runner, "tidies")
        runner.cancel(job_id)

        assert runner.ended(job_id)["stdoutPreview"] == "ready\ntidy\n"


# -- a cancel at a bad moment


def accepts_connections(runner: RunnerProcess) -> bool:
    """Whether the runner is not stopping yet."""
    url = httpx.URL(runner.url)
    try:
        socket.create_connection((url.host, url.port or 80)).close()
    except OSError:
        return False
    return True


def test_a_cancel_of_a_queued_job_while_the_runner_stops_holds(tmp_path: Path) -> None:
    settings = {"killGraceSeconds": 3, "maxConcurrent": 1}
    with RunnerProcess(tmp_path, SCRIPTS, runner=settings) as runner:
        submit(runner, "stays")
        queued = [runner.submit("touches", str(tmp_path / name)) for name in ("a", "b")]
        os.kill(runner.pid, signal.SIGTERM)
        wait_until(lambda: not accepts_connections(runner))
        response = runner.cancel(queued[0])
        assert runner.wait() == 0

        runner.start()
        kept = runner.job(queued[0])
        runner.ended(queued[1])

    assert response["status"] == kept["status"] == "canceled"
    assert [(tmp_path / name).exists() for name in ("a", "b")] == [False, True]


def only_a_child_is_left(job_id: str) -> bool:
    return len(processes_of(job_id)) == 1


def test_a_cancel_between_the_end_of_a_script_and_that_of_its_output_says_how_it_ended(
    runner: RunnerProcess,
) -> None:
    responses = []
    for _ in range(5):
        job_id = submit(runner, "holds")
        wait_until(functools.partial(only_a_child_is_left, job_id))
        responses.append((runner.cancel(job_id), runner.ended(job_id)))
        end_processes_of(job_id)

    assert [response for response, _ in responses] == [ended for _, ended in responses]
    assert {ended["status"] for _, ended in responses} == {"failed"}


def test_of_a_cancel_and_a_time_limit_in_one_grace_the_first_counts(tmp_path: Path) -> None:
    scripts = {"stays": SCRIPTS["stays"], "stays-longer": SCRIPTS["stays"]}
    rules = {"stays": {"timeoutSec": 1}, "stays-longer": {"timeoutSec": 3}}
    settings = {"killGraceSeconds": 4, "maxConcurrent": 2}
    with RunnerProcess(tmp_path, scripts, runner=settings, rules=rules) as runner:
        canceled, timed_out = submit(runner, "stays-longer"), submit(runner, "stays")
        runner.cancel(canceled)
        begun = runner.job(timed_out)["startedAt"]
        wait_until(lambda: seconds_since(begun) > 1.2)
        assert runner.cancel(timed_out)["status"] == "running"

        assert runner.ended(timed_out)["status"] == "timed_out"
        ended = runner.ended(canceled)
        assert (ended["status"], ended["durationMs"] > 3000) == ("canceled", True)


def seconds_since(moment: str) -> float:
    """How long ago a moment of the wire is."""
    then = datetime.datetime.fromisoformat(moment)
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


# -- the order of jobs


def test_a_sync_run_does_not_overtake_jobs_that_were_queued_before_it(tmp_path: Path) -> None:
    order = tmp_path / "order"
    script = {"notes": '#!/bin/sh\necho "$1" >> "$2"\n'}
    with (
        RunnerProcess(tmp_path, script, runner={"maxConcurrent": 1}) as runner,
        ThreadPoolExecutor(8) as pool,
    ):
        runs = []
        for number in range(120):
            runner.submit("notes", f"{number}", str(order))
            if number % 10 == 9:
                runs.append(pool.submit(runner.run, "notes", f"sync-{number}", str(order)))
        assert all(run.result()["status"] == "succeeded" for run in runs)
        wait_until(lambda: lines(order) == 132, 60)

    ran = order.read_text().split()
    queued = [name for name in ran if not name.startswith("sync")]
    assert queued == [str(number) for number in range(120)]
    for number in range(9, 120, 10):
        assert ran.index(f"sync-{number}") > ran.index(str(number))
