"""`local-runner start` as a process: where it listens, its log, how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until

END_SECONDS = 20.0
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

SIGNAL_AS_SOON_AS_IT_LISTENS = """
import os, sys
from local_runner import cli, log

event = log.event

def log_and_signal(name, **fields):
    event(name, **fields)
    if name == "listening":
        os.kill(os.getpid(), int(sys.argv[1]))

log.event = log_and_signal
cli.main(["start", "--config", sys.argv[2]])
"""


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "local_runner", "start", f"--config={config}", *options]


def refused(config: Path, *options: str, token: bytes = b"") -> str:
    """Start a runner that must refuse; returns the one line it says."""
    ended = subprocess.run(
        command(config, *options),
        env={**os.environ, "SCRIPT_RUNNER_TOKEN": os.fsdecode(token)},
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1), ended.stderr
    return ended.stderr


class Started:
    """A runner that writes its log as people read it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.url = str(wait_until(self._listening)[1])

    @property
    def log(self) -> str:
        """The log so far."""
        return self._log.read_text()

    def _listening(self) -> re.Match[str] | None:
        assert self.process.poll() is None, self.log
        return re.search(r"listening url=(\S+) ", self.log)

    def stop(self, number: signal.Signals) -> int:
        """End it; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


@contextlib.contextmanager
def started(config: Path, *options: str) -> Iterator[Started]:
    log = config.parent / "stderr"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command(config, *options),
            env={**os.environ, "SCRIPT_RUNNER_TOKEN": ""},
            stdout=stderr,
            stderr=stderr,
        )
    try:
        yield Started(process, log)
    finally:
        process.kill()
        process.wait()


def test_a_port_in_use_is_refused_in_one_line(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(config, f"--port={port}")

    assert said == (
        f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; stop the program that "
        "listens there, perhaps another local runner, or choose another port (--port or "
        "server.port)\n"
    )


@pytest.mark.parametrize(
    "host", ["localhost..", "127..0.1", "x" * 70, "no.such.host.invalid", "192.0.2.1"]
)
def test_a_host_that_is_none_is_refused_in_one_line(config: Path, host: str) -> None:
    said = refused(config, f"--host={host}", token=b"secret")

    assert said.startswith(f"Error: cannot listen on {host}:0: ")
    assert said.endswith("; use an address of this machine (--host or server.host)\n")


def test_a_token_that_is_not_utf_8_is_refused_in_one_line(config: Path) -> None:
    assert "SCRIPT_RUNNER_TOKEN" in refused(config, token=b"\xff")


def test_an_empty_token_is_no_token(config: Path) -> None:
    said = refused(config, "--host=0.0.0.0", token=b"")

    assert said.startswith("Error: 0.0.0.0 can be reached from other machines, ")


def test_a_name_too_long_for_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)

    assert refused(path) == f"Error: {path}: cannot be read: File name too long\n"


def test_start_listens_where_the_command_line_says(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with started(config, "--host=localhost", f"--port={port}") as runner:
        assert httpx.URL(runner.url).port == port
        assert httpx.get(f"{runner.url}/healthz", trust_env=False).is_success


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_log_has_a_line_an_event_and_a_signal_ends_the_runner_with_0(
    config: Path, number: signal.Signals
) -> None:
    with started(config) as runner:
        response = httpx.post(f"{runner.url}/run", json={"scriptId": "hello"}, trust_env=False)
        httpx.get(f"{runner.url}/jobs/a%0d%0ab%20c?secret=1", trust_env=False)
        assert runner.stop(number) == 0
        written = runner.log

    expected = [
        f"warning script gone: {config.parent}/gone.sh: no such file",
        f"listening url={runner.url} scripts=2",
        f"job_start job_id={response.json()['jobId']} script_id=hello",
        "request method=POST path=/run status=200 duration_ms=# client=127.0.0.1 "
        f"job_id={response.json()['jobId']} script_id=hello",
        f"job_end job_id={response.json()['jobId']} script_id=hello status=succeeded code=0 "
        f"duration_ms={response.json()['durationMs']}",
        "request method=GET path=/jobs/a%0d%0ab%20c status=404 duration_ms=# client=127.0.0.1",
        f"stopping signal={number.name}",
        "stopped",
    ]
    lines = re.sub(r"(?<=duration_ms=)\d+(?= client)", "#", written).splitlines()
    assert [re.sub(f"^{TIME} ", "", line) for line in lines] == expected
    assert [line for line in lines if not re.match(f"{TIME} ", line)] == []


def test_systemd_is_told_when_the_runner_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    address = str(tmp_path / "user@1000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(END_SECONDS)
        runner = RunnerProcess(
            tmp_path, {"env": "#!/bin/sh\nenv\n"}, environment={"NOTIFY_SOCKET": address}
        )
        with runner:
            assert systemd.recv(100) == b"READY=1"
            assert "NOTIFY_SOCKET" not in runner.run("env")["stdoutPreview"]
        assert systemd.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_as_soon_as_it_listens_ends_the_runner_with_0(
    config: Path, number: signal.Signals
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SIGNAL_AS_SOON_AS_IT_LISTENS, str(int(number)), config],
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )

    assert (ended.returncode, ended.stderr.splitlines()[-1][-7:]) == (0, "stopped")
