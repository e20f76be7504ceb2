"""The local runner as a process of its own, with scripts written for a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks.blocks import ROOT

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
ANSWER_SECONDS = 120.0
JOB_SECONDS = 300.0
POLL_SECONDS = 0.02

TOKEN_VARIABLE = "SCRIPT_RUNNER_TOKEN"


class BenchmarkFailed(Exception):
    """Something that is to be measured did not work; the message says what."""


class LocalRunner:
    """A folder with a configuration and scripts, and the local runner that serves it.

    Attributes:
        folder: Where its configuration, its scripts and its history are.
        url: Where it listens.
        http: A bare client of it that keeps its connections.
    """

    def __init__(self, folder: Path, scripts: Mapping[str, str], **options: int) -> None:
        """Write the configuration; `start` starts the process.

        Args:
            folder: A folder that is made when it is missing.
            scripts: The lines of each script, after the first, by its id.
            options: Keys of `runner` in config.json.
        """
        self.folder = folder
        self.url = ""
        self.http = httpx.Client()
        self._scripts = scripts
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for script_id, text in scripts.items():
            self.script(script_id).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            self.script(script_id).chmod(0o755)

    def script(self, script_id: str) -> Path:
        """The file of a script."""
        return self.folder / f"{script_id}.sh"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, **options: int) -> LocalRunner:
        """Start the process, with other options of `runner` if there are any, and wait for it."""
        listed = [{"id": script_id, "path": f"./{script_id}.sh"} for script_id in self._scripts]
        config = {
            "server": {"port": 0},
            "runner": {"maxConcurrent": 4, **self._options, **options},
            "scripts": listed,
        }
        path, log_path = self.folder / "config.json", self.folder / "runner.log"
        path.write_text(json.dumps(config), encoding="utf-8")
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "local_runner", "start"),
                    *(f"--config={path}", "--log-format=json"),
                ],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE},
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.url = self._url_when_listening(log_path)
        except BaseException:
            self.stop()
            raise
        self.http = httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS)
        return self

    def _url_when_listening(self, log_path: Path) -> str:
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            for line in log_path.read_text(encoding="utf-8").splitlines(keepends=True):
                if '"listening"' in line and line.endswith("\n"):
                    return str(json.loads(line)["url"])
            time.sleep(POLL_SECONDS)
        raise BenchmarkFailed(f"the local runner did not start:\n{log_path.read_text()}")

    def stop(self) -> None:
        """End the process and wait for its end."""
        assert self._process is not None
        self.http.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> LocalRunner:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def run(self, script_id: str, *args: str, mode: str = "sync") -> dict[str, Any]:
        """Run a script; returns the job of a sync run, what an async run answers.

        Raises:
            BenchmarkFailed: If a sync run did not succeed.
        """
        body = {"scriptId": script_id, "args": args, "mode": mode}
        job: dict[str, Any] = self.http.post("/run", json=body).raise_for_status().json()
        if mode == "sync" and job["status"] != "succeeded":
            raise BenchmarkFailed(f"script {script_id}: {job}")
        return job

    def succeeded(self, script_id: str, *args: str) -> str:
        """Run a script that may take long, and wait for its end; returns the job id."""
        job_id = str(self.run(script_id, *args, mode="async")["jobId"])
        deadline = time.monotonic() + JOB_SECONDS
        while time.monotonic() < deadline:
            job = self.http.get(f"/jobs/{job_id}").raise_for_status().json()
            if job["status"] == "succeeded":
                return job_id
            if job["status"] not in ("queued", "running"):
                raise BenchmarkFailed(f"script {script_id}: {job}")
            time.sleep(POLL_SECONDS)
        raise BenchmarkFailed(f"script {script_id} has not ended in {JOB_SECONDS:g} s")
