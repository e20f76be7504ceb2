"""The local runner as a process of its own: for the demo, the tests and the measurements."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from local_runner.config import TOKEN_VARIABLE
from scripts.waiting import wait_until

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
"""How long it may take to end its scripts."""

CALL_SECONDS = 30.0
JOB_SECONDS = 30.0


class RunnerFailed(Exception):
    """The local runner did not start; the message has its log."""


class RunnerProcess:
    """The local runner on a folder with a configuration, from its start to its end.

    Attributes:
        folder: Where `config.json` is, and its scripts and history as far as tests write them.
        http: A client of it that keeps its connections; another one after each start.
        begun: How many `events` there were when it was started last.
    """

    http: httpx.Client
    begun = 0

    def __init__(
        self,
        folder: Path,
        scripts: Mapping[str, str] | None = None,
        *,
        runner: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Write the configuration if there are scripts; `start` starts the process.

        Args:
            folder: An empty folder, or one that has its `config.json`.
            scripts: The text of each script by its id; None to leave the folder as it is.
            runner: Keys of `runner` in config.json.
            server: Keys of `server` in config.json, beside a free port.
            rules: More keys of a script in scripts.json, by its id.
            environment: Variables beside those of this process, of which the token is left out.
            options: More of the command line, such as `--port=0`.
        """
        self.folder = folder
        self._environment = environment or {}
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._line = b""
        self._log_read = 0
        self._events: list[dict[str, Any]] = []
        self._looks = itertools.count()
        self._url = ""
        if scripts is not None:
            self._write_scripts(scripts, rules or {})
            self.configure(runner=runner, server=server)

    def _write_scripts(
        self, scripts: Mapping[str, str], rules: Mapping[str, Mapping[str, Any]]
    ) -> None:
        for script_id, text in scripts.items():
            path = self.folder / f"{script_id}.sh"
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        listed = [
            {"id": script_id, "path": f"./{script_id}.sh", **rules.get(script_id, {})}
            for script_id in scripts
        ]
        self.write("scripts.json", {"scripts": listed})

    def configure(
        self,
        *,
        runner: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
    ) -> None:
        """Write `config.json`; the next start reads it.

        Args:
            runner: Keys of `runner`, beside four jobs at once.
            server: Keys of `server`, beside a free port.
        """
        content = {
            "server": {"port": 0, **(server or {})},
            "runner": {"maxConcurrent": 4, **(runner or {})},
            "scriptsFile": "./scripts.json",
        }
        self.write("config.json", content)

    def write(self, name: str, content: object) -> None:
        """Write a JSON file of the configuration."""
        (self.folder / name).write_text(json.dumps(content), encoding="utf-8")

    # -- the process

    @property
    def command(self) -> list[str]:
        """The command that starts the process."""
        config = f"--config={self.folder / 'config.json'}"
        start = [sys.executable, "-m", "local_runner", "start", config, "--log-format=json"]
        return [*start, *self._options]

    def start(self) -> RunnerProcess:
        """Start the process and wait until it listens.

        Raises:
            RunnerFailed: If it ends, or does not listen in time.
        """
        self.launch()
        assert self._process is not None
        process = self._process
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self.url or process.poll() is not None, READY_SECONDS)
        if not self.url:
            self.stop(signal.SIGKILL)
            raise RunnerFailed(f"the local runner did not start: {self.events}")
        self.http.base_url = httpx.URL(self.url)
        return self

    def launch(self) -> None:
        """Start the process without waiting for anything; `stop` and `wait` end it too."""
        self.begun = len(self._events)
        self._url, self._line, self._log_read = "", b"", 0
        # Not a pipe: nobody has to read it for the runner to go on.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (`wait` closes it)
        inherited = {name: text for name, text in os.environ.items() if name != TOKEN_VARIABLE}
        # A stdin that is not empty, which no script may read. A session of its own: Ctrl-C in a
        # terminal is for whoever started it, who then ends it.
        with Path(__file__).open("rb") as stdin:
            self._process = subprocess.Popen(
                self.command,
                stdin=stdin,
                stderr=self._file,
                env={**inherited, **self._environment},
                start_new_session=True,
            )
        # Without certificates, which take longer to read than many a test.
        self.http = httpx.Client(timeout=CALL_SECONDS, trust_env=False, verify=False)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it listens; empty until it does, another port after each start."""
        self._read_log()
        return self._url

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of its log so far, parsed, those before a restart too.

        It may have more to write, unless it has ended; see `logged`.
        """
        self._read_log()
        return self._events

    def logged(self) -> list[dict[str, Any]]:
        """`events` with the lines about all that it has done until now.

        A thread of the runner writes them, after the response. This sends a request of its own and
        waits for its line, which is the last.
        """
        path = f"/looks-into-the-log/{next(self._looks)}"
        self.http.get(path)
        wait_until(lambda: any(event.get("path") == path for event in self.events[self.begun :]))
        return self.events

    def _read_log(self) -> None:
        with self._lock:
            if self._process is None or self._file.closed:
                return
            file = self._file.fileno()
            # Not `read`: the process writes at the position that it shares with us.
            part = os.pread(file, os.fstat(file).st_size - self._log_read, self._log_read)
            self._log_read += len(part)
            *lines, self._line = (self._line + part).split(b"\n")
            for event in map(_parsed, lines):
                self._events.append(event)
                if event["event"] == "listening":
                    self._url = event["url"]

    def send_signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

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
            self._read_log()
            self._file.close()
            self.http.close()

    def __enter__(self) -> RunnerProcess:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop, unless it has ended already."""
        if self._process is not None and self._process.returncode is None:
            self.stop()

    def end(self) -> None:
        """End it at once, whether it was started, frozen or has ended already."""
        if self._process is not None and self._process.returncode is None:
            self.stop(signal.SIGKILL)

    # -- its jobs

    def run(self, script_id: str, *args: str, mode: str = "sync") -> dict[str, Any]:
        """Run a script; returns the job of a sync run, what an async run returns."""
        body = {"scriptId": script_id, "args": args, "mode": mode}
        response = self.http.post("/run", json=body)
        assert response.is_success, response.text
        return dict(response.json())

    def submit(self, script_id: str, *args: str) -> str:
        """Run a script without waiting for its end; returns the job id."""
        return str(self.run(script_id, *args, mode="async")["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        return dict(self.http.get(f"/jobs/{job_id}").raise_for_status().json())

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job; returns it as the runner gives it then."""
        return dict(self.http.post(f"/jobs/{job_id}/cancel").raise_for_status().json())

    def log(self, job_id: str, stream: str = "stdout") -> str:
        """The first 64 KiB of a log."""
        response = self.http.get(f"/jobs/{job_id}/logs", params={"stream": stream})
        return str(response.raise_for_status().json()["data"])

    def ended(self, job_id: str, seconds: float = JOB_SECONDS) -> dict[str, Any]:
        """Wait until a job has ended; returns it."""
        return wait_until(lambda: ended_or_none(self.job(job_id)), seconds)

    def printed(self, job_id: str, text: str) -> None:
        """Wait until the stdout of a job has a text."""
        wait_until(lambda: text in self.log(job_id))


def ended_or_none(job: dict[str, Any]) -> dict[str, Any] | None:
    """A job that has ended, None in place of one that has not."""
    return None if job["status"] in ("queued", "running") else job


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"event": "not an event", "line": line.decode("utf-8", "replace")}
    return event
