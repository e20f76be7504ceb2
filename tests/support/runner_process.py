"""A local runner as a process of its own, with scripts written for a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from local_runner.processes.local import JOB_VARIABLE
from tests.support.waiting import wait_until

READY_SECONDS = 20.0
STOP_SECONDS = 20.0
CALL_SECONDS = 30.0


class RunnerProcess:
    """A folder with a configuration and scripts, and the local runner that serves it.

    Attributes:
        folder: Where `config.json`, `scripts.json`, the scripts and the history are.
        url: Where it listens; another port after each start.
        events: The lines of its log so far, parsed.
        http: A client of it that keeps its connections; another one after each start.
    """

    def __init__(
        self,
        folder: Path,
        scripts: Mapping[str, str],
        *,
        runner: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Write the configuration; `start` starts the process.

        Args:
            folder: An empty folder.
            scripts: The text of each script by its id.
            runner: Keys of `runner` in config.json.
            server: Keys of `server` in config.json, beside a free port.
            rules: More keys of a script in scripts.json, by its id.
            environment: Variables beside those of this process.
        """
        self.folder = folder
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self.http: httpx.Client
        self._environment = environment or {}
        self._process: subprocess.Popen[str] | None = None
        for script_id, text in scripts.items():
            path = folder / f"{script_id}.sh"
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        listed = [
            {"id": script_id, "path": f"./{script_id}.sh", **(rules or {}).get(script_id, {})}
            for script_id in scripts
        ]
        self.write("scripts.json", {"scripts": listed})
        self.write(
            "config.json",
            {
                "server": {"port": 0, **(server or {})},
                "runner": {"maxConcurrent": 4, **(runner or {})},
                "scriptsFile": "./scripts.json",
            },
        )

    def write(self, name: str, content: object) -> None:
        """Write a JSON file of the configuration."""
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def command(self) -> list[str]:
        """The command that starts the process."""
        config = f"--config={self.folder / 'config.json'}"
        return [sys.executable, "-m", "local_runner", "start", config, "--log-format=json"]

    def start(self) -> RunnerProcess:
        """Start the process and wait until it listens."""
        self.launch()
        self._listening.wait(READY_SECONDS)
        if not self.url:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"the runner did not start: {self.events}")
        self.http.base_url = httpx.URL(self.url)
        return self

    def launch(self) -> None:
        """Start the process without waiting for anything; `stop` and `wait` end it too."""
        self.url = ""
        self.http = httpx.Client(timeout=CALL_SECONDS, trust_env=False)
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "not an event", "line": line}
            self.events.append(event)
            if event["event"] == "listening":
                self.url = event["url"]
                self._listening.set()
        self._listening.set()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process, SIGTERM by default; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until the process has ended; returns its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self.http.close()

    def __enter__(self) -> RunnerProcess:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop, unless it has ended already."""
        if self._process is not None and self._process.returncode is None:
            self.stop()

    def run(self, script_id: str, *args: str, mode: str = "sync") -> dict[str, Any]:
        """Run a script; returns the job of a sync run, what an async run answers."""
        body = {"scriptId": script_id, "args": args, "mode": mode}
        answer = self.http.post("/run", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def submit(self, script_id: str, *args: str) -> str:
        """Run a script without waiting for its end; returns the job id."""
        return str(self.run(script_id, *args, mode="async")["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        return dict(self.http.get(f"/jobs/{job_id}").raise_for_status().json())

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job; returns it as the runner answers then."""
        return dict(self.http.post(f"/jobs/{job_id}/cancel").raise_for_status().json())

    def log(self, job_id: str, stream: str = "stdout") -> str:
        """The first 64 KiB of a log."""
        answer = self.http.get(f"/jobs/{job_id}/logs", params={"stream": stream})
        return str(answer.raise_for_status().json()["data"])

    def ended(self, job_id: str) -> dict[str, Any]:
        """Wait until a job has ended; returns it."""
        return wait_until(lambda: ended_or_none(self.job(job_id)))

    def printed(self, job_id: str, text: str) -> None:
        """Wait until the stdout of a job has a text."""
        wait_until(lambda: text in self.log(job_id))


def ended_or_none(job: dict[str, Any]) -> dict[str, Any] | None:
    """A job that has ended, None in place of one that has not."""
    return None if job["status"] in ("queued", "running") else job


def processes_of(job_id: str) -> list[psutil.Process]:
    """The processes of a job that live, wherever they went."""
    return [process for process in psutil.process_iter() if _job_of(process) == job_id]


def _job_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(JOB_VARIABLE)
    except (psutil.Error, OSError):
        return None
