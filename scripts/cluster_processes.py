"""A broker and agents as processes of their own: for the demo, the tests and the measurements."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.runner_process import READY_SECONDS, RunnerProcess
from scripts.waiting import wait_until

NATS_SERVER = Path(sys.executable).with_name("nats-server")
STOP_SECONDS = 30.0


def free_ports(count: int) -> list[int]:
    """Some ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Broker:
    """A nats-server on a port of its own; started again it is on the same one."""

    def __init__(
        self,
        folder: Path,
        config: str = "",
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        tls: bool = False,
    ) -> None:
        """Write its configuration; `start` starts it.

        Args:
            folder: An empty folder for it.
            config: More of its configuration.
            port: Its port; a free one by default.
            host: The address it listens on.
            prefix: A command to put before, such as one that enters a network namespace.
            tls: Whether it is reached by TLS.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_ports(1)[0]
        self.url = f"{'tls' if tls else 'nats'}://{host}:{self.port}"
        self._host, self._prefix = host, prefix
        self._process: subprocess.Popen[bytes] | None = None
        text = f'listen: "{host}:{self.port}"\n{config}'
        (folder / "nats.conf").write_text(text, encoding="utf-8")

    def start(self) -> Broker:
        """Start it and wait until it takes connections."""
        command = [*self._prefix, str(NATS_SERVER), "-c", "nats.conf"]
        with (self.folder / "log").open("ab") as log:
            self._begin = log.tell()
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: "Server is ready" in self.log, READY_SECONDS)
        return self

    @property
    def log(self) -> str:
        """What it has logged since it was started."""
        return (self.folder / "log").read_bytes()[self._begin :].decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(STOP_SECONDS)

    def __enter__(self) -> Broker:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End it at once."""
        self.stop(signal.SIGKILL)


class AgentProcess(RunnerProcess):
    """An agent on a folder with its configuration."""

    def __init__(
        self,
        folder: Path,
        broker: str | Sequence[str],
        scripts_file: Path,
        *,
        name: str | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **keys: Any,
    ) -> None:
        """Write its configuration; `start` starts it.

        Args:
            folder: An empty folder for it.
            broker: The URL or the URLs of the broker.
            scripts_file: The scripts that it runs.
            name: Its name; that of the folder by default.
            prefix: A command to put before, such as one that enters a network namespace.
            environment: See `RunnerProcess`.
            keys: More of its configuration.
        """
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, environment=environment)
        self.name = name or folder.name
        self._prefix = prefix
        urls = [broker] if isinstance(broker, str) else list(broker)
        content = {"name": self.name, "nats": urls, "scriptsFile": str(scripts_file), **keys}
        (folder / "agent.json").write_text(json.dumps(content), encoding="utf-8")

    @property
    def command(self) -> list[str]:
        """The command that starts it."""
        config = f"--config={self.folder / 'agent.json'}"
        agent = [sys.executable, "-m", "local_runner", "agent", config, "--log-format=json"]
        return [*self._prefix, *agent]

    def start(self) -> AgentProcess:
        """Start it and wait until it has reached the broker."""
        self.launch()
        wait_until(self._has_connected, READY_SECONDS)
        return self

    def _has_connected(self) -> bool:
        assert self._process is not None
        events = self.events[self.begun :]
        assert self._process.poll() is None, events
        return any(event["event"] == "connected" for event in events)
