"""Clocks, memory, the blocks and the runner as the measurements use them."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import platform
import random
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


def timed_in_turns(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Do several things in turns; returns the median seconds of each. See `in_turns`."""
    timed = {name: lambda work=work: seconds_of(work) for name, work in works.items()}
    return in_turns(timed, rounds)


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
    """A client of a local runner that takes as little of the time of a job as one in Python can."""

    def __init__(self, runner: RunnerProcess) -> None:
        """Prepare a connection, which stays open."""
        address, _, port = runner.url.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(address, int(port), timeout=120)

    def get(self, path: str) -> bytes:
        """Get the body of a response, which must be a good one."""
        self._connection.request("GET", path)
        return self._read()

    def run(self) -> None:
        """Run the script `quick` as a sync job, which must succeed."""
        body = '{"scriptId":"quick","args":[],"mode":"sync"}'
        self._connection.request("POST", "/run", body, {"Content-Type": "application/json"})
        if json.loads(job := self._read())["status"] != "succeeded":
            raise BenchmarkFailed(f"script quick: {job.decode()}")

    def _read(self) -> bytes:
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise BenchmarkFailed(f"{response.status}: {body.decode()}")
        return body

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


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
