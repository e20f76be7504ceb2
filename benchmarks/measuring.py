"""Clocks, memory, the blocks and the runner as the measurements use them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import random
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from scripts.blocks import ROOT, load_block
from scripts.runner_process import RunnerProcess

MEGABYTE = 1_000_000
PACKAGES = ("httpx", "httpcore", "requests", "starlette", "uvicorn")

_HEAD = re.compile(rb"HTTP.*?\r\ncontent-length: *(?P<length>\d+)\r\n.*?\r\n\r\n", re.I | re.S)
"""The head of a response that says how long it is."""

Work = Callable[[], object]


class BenchmarkFailed(Exception):
    """Something that is to be measured did not work; the message says what."""


# -- clocks


def in_turns(
    measurements: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 3
) -> dict[str, float]:
    """Take several measurements in turns, so that a busy machine is busy for all alike.

    The order within a round is drawn anew each time, always alike in two runs: what one leaves to
    do behind it, such as a connection to close, falls to all others alike.

    Args:
        measurements: What gives one figure, by name.
        rounds: How many figures of each count.
        warm_up: How many rounds to do before them.

    Returns:
        The median of each.
    """
    order = random.Random(0)
    figures: dict[str, list[float]] = {name: [] for name in measurements}
    for number in range(-warm_up, rounds):
        for name in order.sample(list(measurements), len(measurements)):
            figure = measurements[name]()
            if number >= 0:
                figures[name].append(figure)
    return {name: median(values) for name, values in figures.items()}


def timed_in_turns(works: Mapping[str, Work], rounds: int, warm_up: int = 3) -> dict[str, float]:
    """Do several things in turns; returns the median seconds of each. See `in_turns`."""
    timed = {name: lambda work=work: seconds_of(work) for name, work in works.items()}
    return in_turns(timed, rounds, warm_up)


def seconds_of(work: Work) -> float:
    """Do something once; returns how long it took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# -- processes


def resident(pid: int | None = None) -> int:
    """Bytes of a process that are resident now, of this one by default."""
    return int(psutil.Process(pid).memory_info().rss)


def most_resident(pid: int | None = None) -> int:
    """The most bytes that were resident at once, on Linux; elsewhere what is resident now.

    Not `ru_maxrss`: a new process takes that over from the one that started it.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if not status.exists():
        return resident(pid)
    lines = dict(line.split(":", 1) for line in status.read_text("utf-8").splitlines())
    return 1024 * int(lines["VmHWM"].split()[0])


def cpu_seconds(pid: int) -> float:
    """The time that a process has spent on a processor."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def run_python(*arguments: str) -> str:
    """Run a Python process to its end; returns what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


# -- the product


class SilentContext:
    """The parts of `oocana.Context` that a block uses; all is thrown away."""

    def report_log(self, *_: object) -> None:
        """Throw it away."""

    preview = report_progress = send_warning = report_log


def call_block(name: str, url: str, **inputs: object) -> dict[str, Any]:
    """Call a block with nobody watching; returns its outputs."""
    given = {"script_runner_url": url, **inputs}
    outputs: dict[str, Any] = load_block(name).main(given, SilentContext())
    return outputs


def runner_in(folder: Path, scripts: Mapping[str, str], **options: int) -> RunnerProcess:
    """A local runner, not started.

    Args:
        folder: A folder that is made.
        scripts: The lines of each script, after the first, by its id.
        options: Keys of `runner` in config.json.
    """
    folder.mkdir(parents=True)
    texts = {name: f"#!/bin/sh\n{lines}\n" for name, lines in scripts.items()}
    return RunnerProcess(folder, texts, runner=options)


class LeanClient:
    """A client that takes as little of the time of a job as one in Python can."""

    def __init__(self, url: str, script_id: str = "quick") -> None:
        """Connect; leaving the `with` block closes the connection.

        Args:
            url: Where a script-runner listens.
            script_id: What `run` runs.
        """
        self._host = url.removeprefix("http://")
        address, _, port = self._host.partition(":")
        self._socket = socket.create_connection((address, int(port)), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = json.dumps({"scriptId": script_id, "args": [], "mode": "sync"})
        json_body = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._run = self._request("POST /run", json_body, body)

    def __enter__(self) -> LeanClient:
        """Give the client; it is connected already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._socket.close()

    def get(self, path: str) -> bytes:
        """Get the body of a response, which must be a good one."""
        return self._call(self._request(f"GET {path}"))

    def run(self) -> None:
        """Run the script as a sync job, which must succeed."""
        if json.loads(job := self._call(self._run))["status"] != "succeeded":
            raise BenchmarkFailed(f"a job failed: {job.decode()}")

    def _request(self, line: str, headers: str = "", body: str = "") -> bytes:
        return f"{line} HTTP/1.1\r\nHost: {self._host}\r\n{headers}\r\n{body}".encode()

    def _call(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        received, end, length = b"", -1, 0
        while end < 0 or len(received) < end + length:
            if not (part := self._socket.recv(2**20)):
                raise BenchmarkFailed(f"the connection was closed after {received!r}")
            received += part
            if end < 0 and (found := _HEAD.match(received)):
                end, length = found.end(), int(found["length"])
        if not received.startswith(b"HTTP/1.1 200 "):
            raise BenchmarkFailed(received.decode())
        return received[end:]


# -- the machine


def machine() -> dict[str, str]:
    """What figures depend on, by name; no names of hosts or folders."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "files on": _file_system(),
        "packages": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        "SQLite": sqlite3.sqlite_version,
    }


def _file_system() -> str:
    """The file system of the temporary folder, where the runners work."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounted: Sequence[Any] = [
        part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)
    ]
    return max(mounted, key=lambda part: len(part.mountpoint)).fstype if mounted else "unknown"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text("utf-8").splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.processor() or platform.machine()
