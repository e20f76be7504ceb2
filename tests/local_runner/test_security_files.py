"""What lies on the disk, and where the runner listens."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.talk import TAP, Tap, send

SECRET = "what the owner keeps elsewhere\n"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """A runner with one slot, started by somebody whose new files everybody may write."""
    prepared = RunnerProcess(
        tmp_path_factory.mktemp("files"),
        {"tap": TAP, "echo": "#!/bin/sh\necho hello\n"},
        runner={"maxConcurrent": 1},
    )
    prepared.write("jobs.json", [{"jobId": "job_1_1"}])
    before = os.umask(0)
    try:
        prepared.start()
    finally:
        os.umask(before)
    try:
        yield prepared
    finally:
        prepared.stop()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_history_and_the_logs_are_for_their_owner_only(runner: RunnerProcess) -> None:
    runner.run("echo")

    databases = list(runner.folder.glob("jobs.sqlite3*"))
    logs = list((runner.folder / "logs").iterdir())
    assert (len(databases) >= 1, len(logs) >= 1) == (True, True)
    assert {mode(path) for path in [*databases, *logs]} == {0o600}
    assert mode(runner.folder / "logs") == 0o700


def test_the_jobs_json_of_another_script_runner_is_left_alone(runner: RunnerProcess) -> None:
    runner.run("echo")

    assert (runner.folder / "jobs.json").read_text() == '[{"jobId": "job_1_1"}]'
    assert runner.http.get("/jobs/job_1_1").status_code == 404


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_link_that_waits_at_a_logs_name_is_not_written_through(
    runner: RunnerProcess, tmp_path: Path, stream: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    with Tap(tmp_path) as tap:
        running = runner.submit("tap", tap.path)
        queued = runner.submit("echo")
        (runner.folder / "logs" / f"{queued}.{stream}.log").symlink_to(secret)
        tap.write(b"x")
    runner.ended(running)
    job = runner.ended(queued)

    assert (job["status"], job["code"], job["stdoutPreview"]) == ("failed", -1, "")
    assert job["stderrPreview"].startswith("the job could not be started: ")
    assert runner.log(queued, stream) == ""
    assert secret.read_text() == SECRET
    assert runner.run("echo")["status"] == "succeeded"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_link_that_replaced_a_log_is_not_read(
    runner: RunnerProcess, tmp_path: Path, stream: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    job_id = runner.run("echo")["jobId"]
    log = runner.folder / "logs" / f"{job_id}.{stream}.log"
    log.unlink(missing_ok=True)
    log.symlink_to(secret)

    assert runner.log(job_id, stream) == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_link_that_replaced_the_log_of_a_job_that_ran_at_kill_9_is_not_read(
    tmp_path: Path, stream: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    script = "#!/bin/sh\necho ready\necho ready >&2\nsleep 300\n"
    with RunnerProcess(tmp_path, {"waits": script}) as runner:
        job_id = runner.submit("waits")
        wait_until(lambda: runner.log(job_id) == runner.log(job_id, "stderr") == "ready\n")
        log = tmp_path / "logs" / f"{job_id}.{stream}.log"
        log.unlink()
        log.symlink_to(secret)

        runner.stop(signal.SIGKILL)
        runner.start()

        job = runner.job(job_id)
        other = "stderr" if stream == "stdout" else "stdout"
        assert (job["status"], job["code"]) == ("failed", -1)
        assert (job[f"{stream}Preview"], job[f"{stream}Size"]) == ("", 0)
        assert (job[f"{other}Preview"], job[f"{other}Size"]) == ("ready\n", 6)
        assert runner.log(job_id, stream) == ""
        assert secret.read_text() == SECRET


def test_a_log_that_is_gone_reads_as_empty(runner: RunnerProcess) -> None:
    job = runner.run("echo")
    (runner.folder / "logs" / f"{job['jobId']}.stdout.log").unlink()

    assert runner.log(job["jobId"]) == ""
    assert runner.job(job["jobId"]) == job


def test_a_pipe_in_place_of_a_log_does_not_stop_the_runner(runner: RunnerProcess) -> None:
    job_id = runner.run("echo")["jobId"]
    log = runner.folder / "logs" / f"{job_id}.stdout.log"
    log.unlink()
    os.mkfifo(log)
    try:
        runner.http.get(f"/jobs/{job_id}/logs", timeout=3)
        assert runner.http.get("/healthz", timeout=3).is_success
    finally:
        # A runner that waits for somebody to write goes on then.
        os.close(os.open(log, os.O_RDWR))


def test_a_second_runner_on_the_same_history_is_refused_in_one_line(
    runner: RunnerProcess,
) -> None:
    second = start(runner.folder)

    database = runner.folder / "jobs.sqlite3"
    assert (second.returncode, second.stdout, second.stderr) == (
        1,
        "",
        f"Error: {database}: the history of jobs cannot be opened: database is locked; "
        "stop the program that uses it, perhaps another local runner\n",
    )
    assert runner.run("echo")["status"] == "succeeded"


def start(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Start a runner that is expected to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "local_runner", "start", f"--config={folder}/config.json", *options],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "runner.example"])
def test_listening_for_other_machines_is_refused_in_one_line(tmp_path: Path, host: str) -> None:
    RunnerProcess(tmp_path, {"echo": "#!/bin/sh\n"}, server={"host": host})

    refused = start(tmp_path)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"Error: {host} can be reached from other machines, and whoever reaches it could run the "
        "scripts: set SCRIPT_RUNNER_TOKEN to a secret that callers must send, or listen on "
        '127.0.0.1 (--host 127.0.0.1), or write "allowUnauthenticated": true in "server" if you '
        "mean it\n"
    )


def test_listening_for_other_machines_is_allowed_with_a_token(tmp_path: Path) -> None:
    with RunnerProcess(
        tmp_path,
        {"echo": "#!/bin/sh\n"},
        server={"host": "0.0.0.0", "allowedHosts": ["runner.example"]},
        environment={"SCRIPT_RUNNER_TOKEN": "secret"},
    ) as runner:
        named = ["Host: runner.example"]
        with_token = [*named, "Authorization: Bearer secret"]

        assert send(runner.url, "GET /healthz", named).refusal == (401, "UNAUTHORIZED")
        assert send(runner.url, "GET /healthz", with_token).status == 200
        assert send(runner.url, "GET /healthz", ["Host: other.example"]).status == 403


def test_listening_for_other_machines_is_allowed_when_it_is_meant(tmp_path: Path) -> None:
    with RunnerProcess(
        tmp_path,
        {"echo": "#!/bin/sh\n"},
        server={"host": "0.0.0.0", "allowUnauthenticated": True},
    ) as runner:
        assert send(runner.url, "GET /healthz").status == 200
        assert send(runner.url, "GET /healthz", ["Host: evil.example"]).status == 403
    warnings = [event for event in runner.events if event["event"] == "warning"]
    assert "server.allowedHosts" in warnings[0]["message"]
