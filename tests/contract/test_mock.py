"""`make mock`: a Prism that is ready when its URL is printed and gone when it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import psutil
import pytest

from scripts.mock import ROOT, PrismFailed, prism


def processes_listening_on(port: int) -> list[int]:
    # None for a process that has just ended.
    commands = {each.pid: each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])}
    return [
        pid
        for pid, command in commands.items()
        if "prism" in " ".join(command) and f"--port={port}" in command
    ]


def free_port() -> int:
    with prism(["mock"]) as url:
        return httpx.URL(url).port or 0


def test_the_mock_responds_as_soon_as_its_url_is_printed_and_ends_with_its_group() -> None:
    port = free_port()
    mock = subprocess.Popen(
        [sys.executable, "-m", "scripts.mock", f"--port={port}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert mock.stdout is not None
    line = mock.stdout.readline()
    assert line.startswith(f"The mock of script-runner listens on http://127.0.0.1:{port} ")
    response = httpx.get(f"http://127.0.0.1:{port}/jobs/job_1", trust_env=False)
    assert response.json()["jobId"]
    assert processes_listening_on(port)
    mock.send_signal(signal.SIGTERM)
    assert mock.wait(timeout=60) == 128 + signal.SIGTERM
    mock.stdout.close()
    assert processes_listening_on(port) == []


def test_a_port_in_use_is_an_error_that_says_so() -> None:
    with prism(["mock"]) as url:
        port = httpx.URL(url).port or 0
        with pytest.raises(PrismFailed, match="EADDRINUSE"), prism(["mock"], port=port):
            pass
