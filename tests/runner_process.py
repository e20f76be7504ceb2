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

READY_SECONDS = 20.0
STOP_SECONDS = 20.0


class RunnerProcess:
    """A folder with a configuration and scripts, and the local runner that serves it.

    Attributes:
        folder: Where `config.json`, `scripts.json`, the scripts and the history are.
        url: Where it listens; another port after each start.
        events: The lines of its log so far, parsed.
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

    def start(self) -> RunnerProcess:
        """Start the process and wait until it listens."""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "local_runner",
                "start",
                f"--config={self.folder / 'config.json'}",
                "--log-format=json",
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment},
        )
        listening = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(listening,), daemon=True)
        self._reader.start()
        assert listening.wait(READY_SECONDS), f"the runner did not start: {self.events}"
        assert self._process.poll() is None, f"the runner did not start: {self.events}"
        return self

    def _read_log(self, listening: threading.Event) -> None:
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
                listening.set()
        listening.set()

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

    def __enter__(self) -> RunnerProcess:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop, unless it has ended already."""
        if self._process is not None and self._process.returncode is None:
            self.stop()
