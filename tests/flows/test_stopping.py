"""A flow that is stopped leaves nothing behind: no process, no file, no job."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest

from scripts.flow.executor import EXECUTOR
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.flows.package import ROOT, RUN_SECONDS, Package, node

NOTICED_SECONDS = 2.0
"""How long an executor that is told to stop may take before it is told again."""


@contextlib.contextmanager
def running_until(
    package: Package, printed: str, *arguments: str, program: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run the flow, by way of a program or not, and go on as soon as it has printed something."""
    command = package.command(*arguments)
    command["args"] = [*program, *command["args"]]
    with subprocess.Popen(**command) as process:
        assert process.stdout is not None
        while printed not in process.stdout.readline():
            assert process.poll() is None
        yield process


HOLD = """
import fcntl, pathlib, subprocess, threading
held = (pathlib.Path(__file__).parent / "held").open("w")
def main(params):
    fcntl.flock(held, fcntl.LOCK_EX)
    stubborn = "trap '' TERM; exec sleep 600"
    subprocess.Popen(["sh", "-c", stubborn], pass_fds=[held.fileno()])
    print("held")
    threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_neither_a_process_nor_a_file_behind(
    package: Package, number: signal.Signals, code: int
) -> None:
    package.block("hold", HOLD, inputs=())
    package.flow(node("h", "hold"), node("after", "echo", x=("h", "x")))

    with running_until(package, "held", "--timeout", f"{RUN_SECONDS}") as process:
        process.send_signal(number)
        printed, _ = process.communicate(timeout=RUN_SECONDS)

    assert process.returncode == code
    assert f"error | still running: {number.name} ended the run." in printed
    # The lock is held until both the executor and the process its block started are gone.
    with (package.root / "blocks/hold/held").open() as held:
        wait_until(lambda: _can_lock(held.fileno()))
    assert package.leftovers() == []


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    """A local runner that wants a token, and whose URL is a secret of the package."""
    folder = tmp_path / "runner"
    folder.mkdir()
    scripts = {"long": "#!/bin/sh\necho begun\nsleep 600\n", "quick": "#!/bin/sh\n"}
    scripts["chatty"] = "#!/bin/sh\nwhile echo on; do sleep 0.2; done\n"
    with RunnerProcess(folder, scripts, environment={"SCRIPT_RUNNER_TOKEN": "t0ken"}) as started:
        started.http.auth = ("any", "t0ken")
        yield started


def waiting_flow(package: Package, runner: RunnerProcess, script: str = "long") -> None:
    """A job that somebody waits for and one that nobody does, one that had ended, a sync run."""
    package.write_secret("Custom", "runner", "URL", runner.url.replace("//", "//any:t0ken@"))
    nodes = [
        node("quick", "run-script-async", script_id="quick", args=[]),
        node("ended", "wait-for-job", job_id=("quick", "job_id"), timeout_seconds=60),
        node("one", "run-script-async", script_id=script, args=[]),
        node("wait", "wait-for-job", job_id=("one", "job_id"), timeout_seconds=600),
        node("two", "run-script-async", script_id="long", args=[]),
        node("sync", "run-script-sync", script_id="long", args=[]),
    ]
    for one in nodes:
        one["task"] = one["task"].replace("self::", "script-runner-proxy::")
        url = {"handle": "script_runner_url", "value": "${{OO_SECRET:Custom,runner,URL}}"}
        one["inputs_from"].append(url)
    package.flow(*nodes)


def listed_jobs(runner: RunnerProcess) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = runner.http.get("/jobs").json()["jobs"]
    return jobs


def statuses(runner: RunnerProcess) -> list[str]:
    return sorted(job["status"] for job in listed_jobs(runner))


def assert_jobs_are_cancelled(runner: RunnerProcess, told: list[str]) -> None:
    jobs = listed_jobs(runner)
    by_script = {job["jobId"]: job["scriptId"] for job in jobs if job["mode"] == "async"}
    assert sorted(by_script.values()) == ["long", "long", "quick"]
    for job_id, script in by_script.items():
        (said,) = [line for line in told if line.startswith(f"{job_id} of ")]
        assert said.endswith("had ended: completed" if script == "quick" else "was told to end")
        assert runner.ended(job_id)["status"] == ("succeeded" if script == "quick" else "canceled")
    assert "sync had not put out a job id: its script may go on, cancel it on the runner" in told


def test_ctrl_c_cancels_the_jobs_that_nodes_started_and_says_which(
    package: Package, runner: RunnerProcess
) -> None:
    waiting_flow(package, runner)

    with running_until(package, "begun") as process:
        wait_until(lambda: statuses(runner) == ["running"] * 3 + ["succeeded"])
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=RUN_SECONDS)

    assert process.returncode == 130
    assert_jobs_are_cancelled(runner, printed.splitlines())


def test_the_timeout_cancels_them_too(package: Package, runner: RunnerProcess) -> None:
    waiting_flow(package, runner)

    done = package.run_leaving("--json", "--timeout", "8")

    assert done.returncode == 1
    assert_jobs_are_cancelled(runner, json.loads(done.stdout)["cancelled"])


def test_a_reader_that_goes_away_ends_the_run_and_its_jobs(
    package: Package, runner: RunnerProcess
) -> None:
    waiting_flow(package, runner, "chatty")

    with running_until(package, "| on") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(RUN_SECONDS)

    assert process.returncode == 128 + signal.SIGPIPE
    (job,) = (job for job in listed_jobs(runner) if job["scriptId"] == "chatty")
    assert runner.ended(job["jobId"])["status"] == "canceled"


@pytest.mark.parametrize(("arguments", "code"), [(["--json"], 1), ([], 128 + signal.SIGPIPE)])
def test_outputs_that_do_not_fit_on_a_disk_are_no_success(
    package: Package, arguments: list[str], code: int
) -> None:
    package.flow(node("a", "echo", x=1))

    command = package.command(*arguments)
    with Path("/dev/full").open("w") as command["stdout"]:
        done = subprocess.run(**command, stderr=PIPE, timeout=RUN_SECONDS, check=False)

    assert done.returncode == code
    assert done.stderr == "Error: cannot print the outputs: No space left on device\n"


def test_under_nohup_the_end_of_the_terminal_ends_nothing(package: Package) -> None:
    package.block("hold", HOLD, inputs=())
    package.flow(node("h", "hold"))

    with running_until(package, "held", program=("nohup",)) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=RUN_SECONDS)

    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("command", "script", "number"),
    [
        ("scripts.demo", "count.sh", signal.SIGTERM),
        ("scripts.demo", "count.sh", signal.SIGHUP),
        ("benchmarks --only wait", "sleep.sh", signal.SIGHUP),
    ],
)
def test_what_has_a_runner_and_is_told_to_end_leaves_neither_a_process_nor_a_file_behind(
    tmp_path: Path, command: str, script: str, number: signal.Signals
) -> None:
    def has_begun() -> bool:
        with contextlib.suppress(psutil.Error):  # One that has ended meanwhile.
            processes = psutil.Process(demo.pid).children(recursive=True)
            return any(script in " ".join(one.cmdline()) for one in processes)
        return False

    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    arguments = [sys.executable, "-m", *command.split()]
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=PIPE) as demo:
        wait_until(has_begun)
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        demo.communicate(timeout=RUN_SECONDS)

    assert demo.returncode == 128 + number
    _, left = psutil.wait_procs(started, timeout=RUN_SECONDS)
    assert left == []
    assert list(tmp_path.iterdir()) == []


START = """
import time
def main(params, context):
    context.output('job_id', 'job_1_1')
    print('started')
    time.sleep(600)
"""


def starting_flow(package: Package, url: str) -> None:
    """A flow whose one node says that it started a job of a runner."""
    inputs = ("script_id", "script_runner_url")
    package.block("start", START, inputs, outputs=("job_id",))
    package.flow(node("s", "start", script_id="a", script_runner_url=url))


def test_a_job_that_cannot_be_cancelled_is_named(package: Package) -> None:
    starting_flow(package, "http://127.0.0.1:1")

    with running_until(package, "| started") as process:
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=RUN_SECONDS)

    assert "\njob_1_1 of s may go on: POST /jobs/job_1_1/cancel at http:" in printed


def test_a_second_signal_does_not_wait_for_a_runner_that_does_not_respond(package: Package) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        starting_flow(package, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with running_until(package, "| started") as process:
            process.send_signal(signal.SIGINT)
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=RUN_SECONDS)
            connection.close()

    assert "job_1_1 of s may go on: a second signal came" in printed.splitlines()


def test_blocks_that_wait_end_when_the_executor_is_told_to_stop(
    package: Package, runner: RunnerProcess, tmp_path: Path
) -> None:
    waiting_flow(package, runner)
    executor, pid, log = (tmp_path / name for name in ("executor", "pid", "log"))
    executor.write_text(f'#!/bin/sh\necho $$ > {pid}\nexec {EXECUTOR} "$@" > {log} 2>&1\n')
    executor.chmod(0o755)

    with running_until(package, "begun", f"--executor={executor}") as process:
        wait_until(lambda: len(listed_jobs(runner)) == 4)
        wait_until(lambda: blocks_done(log) == 4)
        # asyncio takes the first Ctrl-C for itself, and the executor does not hear of it.
        while blocks_done(log) == 4 and process.poll() is None:
            os.kill(int(pid.read_text()), signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: blocks_done(log) > 4, NOTICED_SECONDS)
        printed, _ = process.communicate(timeout=RUN_SECONDS)

    assert blocks_done(log) == 6
    assert "KeyboardInterrupt" in log.read_text()
    assert "wait   wait-for-job      failed" in printed
    assert "sync   run-script-sync   failed" in printed


def blocks_done(log: Path) -> int:
    """How many blocks the executor has run to their end; a killed one it does not count."""
    return len(re.findall(r" - block \w+ done$", log.read_text(), re.MULTILINE))


def _can_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
