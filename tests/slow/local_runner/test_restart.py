"""What survives `kill -9` and SIGTERM: the jobs, their logs, the queue; and what does not."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.support.processes import processes_of

KILL = signal.SIGKILL
LOOP = "while :; do sleep 0.05; done"
QUIET = "exec 2>/dev/null"
"""Some shells say `Terminated` when SIGTERM ends their `sleep`."""

# An argument is a file: a script appends to the first, or waits for it.
NOT_ALLOWED = "not started after a restart, the configuration does not allow it any more"

SCRIPTS = {
    "prints": '#!/bin/sh\necho out\necho err >&2\nexit "$1"\n',
    "waits": '#!/bin/sh\necho ready\nwhile [ ! -e "$1" ]; do sleep 0.02; done\necho seen\n',
    "appends": '#!/bin/sh\nprintf "%s\\n" "$2" | tee -a "$1"\n',
    "polite": f"#!/bin/sh\n{QUIET}\ntrap 'echo goodbye; exit 0' TERM\necho ready\n{LOOP}\n",
    "replaces-itself": f"#!/bin/sh\n{QUIET}\ntrap 'sleep 300 & exit 0' TERM\necho ready\n{LOOP}\n",
    "family": f"""#!{sys.executable}
import os, signal, time
os.write(1, b"out\\n")
os.write(2, b"err\\n")
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"ready\\n")
time.sleep(300)
""",
}


def runner_in(folder: Path, **settings: Any) -> RunnerProcess:
    """A runner that is not started yet; one job at a time and a short grace, unless told."""
    return RunnerProcess(
        folder, SCRIPTS, runner={"maxConcurrent": 1, "killGraceSeconds": 0.5, **settings}
    )


def restart(runner: RunnerProcess, number: signal.Signals = KILL) -> None:
    """End a runner, by `kill -9` unless told, and start it again on its folder."""
    runner.stop(number)
    runner.start()


def submit_and_wait(runner: RunnerProcess, script_id: str, *args: str) -> str:
    """Start a job and wait until it has printed `ready`."""
    job_id = runner.submit(script_id, *args)
    runner.printed(job_id, "ready")
    return job_id


@pytest.mark.parametrize("number", [KILL, signal.SIGTERM])
def test_ended_jobs_and_their_logs_are_after_a_restart_as_they_were(
    tmp_path: Path, number: signal.Signals
) -> None:
    with runner_in(tmp_path) as runner:
        cancelled = submit_and_wait(runner, "polite")
        runner.cancel(cancelled)
        jobs = [runner.ended(cancelled), runner.run("prints", "0"), runner.run("prints", "3")]
        logs = [(runner.log(job["jobId"]), runner.log(job["jobId"], "stderr")) for job in jobs]

        restart(runner, number)

        assert [job["status"] for job in jobs] == ["canceled", "succeeded", "failed"]
        assert [runner.job(job["jobId"]) for job in jobs] == jobs
        assert logs == [("ready\ngoodbye\n", ""), ("out\n", "err\n"), ("out\n", "err\n")]
        assert logs == [
            (runner.log(job["jobId"]), runner.log(job["jobId"], "stderr")) for job in jobs
        ]


def test_a_job_that_ran_at_kill_9_has_failed_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    with runner_in(tmp_path) as runner:
        job_id = submit_and_wait(runner, "family")
        wait_until(lambda: runner.log(job_id).count("ready") == 2)
        before = runner.job(job_id)
        assert len(processes_of(job_id)) == 3

        restart(runner)

        job = runner.job(job_id)
        assert processes_of(job_id) == []
        assert job == {
            **before,
            "status": "failed",
            "code": -1,
            "endedAt": job["endedAt"],
            "durationMs": job["durationMs"],
        }
        assert (job["stdoutSize"], job["stderrSize"]) == (16, 4)
        assert job["stdoutPreview"] == runner.log(job_id) == "out\nready\nready\n"
        assert job["stderrPreview"] == runner.log(job_id, "stderr") == "err\n"
        assert job["endedAt"] >= job["startedAt"]
        assert job["durationMs"] >= 0


def test_what_starts_a_process_when_it_is_ended_leaves_nothing_either(tmp_path: Path) -> None:
    with runner_in(tmp_path) as runner:
        job_id = submit_and_wait(runner, "replaces-itself")

        restart(runner)

        left = processes_of(job_id)
        for process in left:
            process.kill()
        assert left == []


def test_the_queue_runs_after_kill_9_in_its_order_with_its_arguments(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    args = ["one", "two words", "日志 'quoted' $HOME", "", "-n"]
    with runner_in(tmp_path) as runner:
        submit_and_wait(runner, "waits", str(tmp_path / "never"))
        queued = [runner.submit("appends", str(ran), arg) for arg in args]

        restart(runner)

        jobs = [runner.ended(job_id) for job_id in queued]
        assert [job["status"] for job in jobs] == ["succeeded"] * len(args)
        assert [job["stdoutPreview"] for job in jobs] == [f"{arg}\n" for arg in args]
        assert ran.read_text(encoding="utf-8").splitlines() == args


def test_a_queued_job_that_is_not_allowed_any_more_fails_with_the_reason(tmp_path: Path) -> None:
    with runner_in(tmp_path) as runner:
        submit_and_wait(runner, "waits", str(tmp_path / "never"))
        gone = runner.submit("prints", "0")
        ruled_out = runner.submit("appends", str(tmp_path / "ran"), "forbidden")
        rules = {"itemPattern": "^(?!forbidden)"}
        runner.write(
            "scripts.json",
            {"scripts": [{"id": "appends", "path": "./appends.sh", "args": rules}]},
        )

        restart(runner)

        jobs = [runner.job(job_id) for job_id in (gone, ruled_out)]
        assert [(job["status"], job["code"]) for job in jobs] == [("failed", -1)] * 2
        assert [job["stderrPreview"] for job in jobs] == [
            f"{NOT_ALLOWED}: script not found: prints\n",
            f"{NOT_ALLOWED}: arg[1] does not match pattern\n",
        ]
        assert not (tmp_path / "ran").exists()


def lines(path: Path) -> int:
    """How many lines a file has; 0 when it is not there."""
    return path.read_text(encoding="utf-8").count("\n") if path.exists() else 0


@contextlib.contextmanager
def posting(runner: RunnerProcess, ran: Path, accepted: dict[str, str]) -> Iterator[None]:
    """Run `appends` from many threads until the runner is gone.

    Args:
        runner: The runner.
        ran: The file that each script appends its number to.
        accepted: Gets the numbers of the accepted jobs by their ids.
    """
    numbers = itertools.count(len(accepted) * 1000)

    def post_until_it_is_gone() -> None:
        with httpx.Client(base_url=runner.url, timeout=30, trust_env=False) as client:
            for number in map(str, numbers):
                body = {"scriptId": "appends", "args": [str(ran), number], "mode": "async"}
                try:
                    response = client.post("/run", json=body)
                except httpx.TransportError:
                    return
                if response.status_code == 503:
                    return
                assert response.status_code == 202, response.text
                accepted[response.json()["jobId"]] = number

    with concurrent.futures.ThreadPoolExecutor() as pool:
        threads = [pool.submit(post_until_it_is_gone) for _ in range(4)]
        yield
        for thread in threads:
            thread.result()


@pytest.mark.parametrize("number", [KILL, signal.SIGTERM])
def test_no_accepted_job_is_lost_and_none_runs_twice(
    tmp_path: Path, number: signal.Signals
) -> None:
    ran = tmp_path / "ran"
    accepted: dict[str, str] = {}
    with runner_in(tmp_path, maxConcurrent=3) as runner:
        for enough in (20, 40, 60):
            with posting(runner, ran, accepted):
                wait_until(lambda: lines(ran) >= enough)  # noqa: B023
                runner.stop(number)
            runner.start()
        jobs = {job_id: runner.ended(job_id) for job_id in accepted}

    times = collections.Counter(ran.read_text(encoding="utf-8").split())
    ends = {job["status"] for job in jobs.values()}
    succeeded = [job_id for job_id, job in jobs.items() if job["status"] == "succeeded"]
    # A script may have run before the kill kept its caller from hearing of it.
    assert len(accepted) >= 40
    assert ends <= {"succeeded", "failed" if number == KILL else "canceled"}
    assert [times[accepted[job_id]] for job_id in succeeded] == [1] * len(succeeded)
    assert set(times.values()) == {1}


def test_sigterm_ends_the_scripts_as_a_cancel_would_and_keeps_the_queue(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with runner_in(tmp_path) as runner:
        running = submit_and_wait(runner, "polite")
        queued = [runner.submit("appends", str(ran), arg) for arg in ("1", "2", "3")]

        assert runner.stop() == 0
        assert processes_of(running) == []
        assert not ran.exists()
        runner.start()

        job = runner.job(running)
        assert (job["status"], job["code"]) == ("canceled", -1)
        assert job["stdoutPreview"] == runner.log(running) == "ready\ngoodbye\n"
        assert [runner.ended(job_id)["status"] for job_id in queued] == ["succeeded"] * 3
        assert ran.read_text() == "1\n2\n3\n"


def test_sigterm_as_soon_as_it_listens_is_a_stop_like_any_other(tmp_path: Path) -> None:
    exit_codes = []
    for attempt in map(str, range(3)):
        (tmp_path / attempt).mkdir()
        runner = runner_in(tmp_path / attempt)
        with subprocess.Popen(runner.command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if json.loads(line)["event"] == "listening":
                    process.terminate()
            exit_codes.append(process.wait())

    assert exit_codes == [0] * 3


@pytest.mark.parametrize("attempt", range(2))
def test_a_stop_while_runs_are_being_accepted_leaves_no_process_behind(
    tmp_path: Path,
    attempt: int,  # noqa: ARG001
) -> None:
    script = {"appends": '#!/bin/sh\necho "$2" >> "$1"\nexec sleep 300\n'}
    runner = RunnerProcess(tmp_path, script, runner={"maxConcurrent": 1000})
    accepted: dict[str, str] = {}
    try:
        with runner:
            with posting(runner, tmp_path / "ran", accepted):
                wait_until(lambda: lines(tmp_path / "ran") > 20)
                exit_code = runner.stop()
            runner.start()
            jobs = [runner.job(job_id) for job_id in accepted]
    finally:
        left = [process for job_id in accepted for process in processes_of(job_id)]
        for process in left:
            process.kill()

    assert (exit_code, left) == (0, [])
    assert {(job["status"], job["code"]) for job in jobs} == {("canceled", -1)}


def test_an_id_never_comes_again(tmp_path: Path) -> None:
    ids: list[str] = []
    with runner_in(tmp_path, maxJobs=1, maxConcurrent=2) as runner:
        for number in (KILL, signal.SIGTERM):
            submit_and_wait(runner, "waits", str(tmp_path / "never"))
            ids += [runner.run("prints", "0")["jobId"] for _ in range(5)]
            restart(runner, number)

    assert len(set(ids)) == 10


def test_a_second_signal_does_not_wait_for_a_script_that_will_not_end(tmp_path: Path) -> None:
    script = {"stays": "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n"}
    with RunnerProcess(tmp_path, script, runner={"killGraceSeconds": 300}) as runner:
        job_id = runner.submit("stays")
        runner.printed(job_id, "ready")
        os.kill(runner.pid, signal.SIGINT)
        wait_until(lambda: any(event["event"] == "stopping" for event in runner.events))

        assert runner.stop(signal.SIGINT) == 0

        runner.start()
        assert runner.job(job_id)["status"] == "canceled"
        assert processes_of(job_id) == []
