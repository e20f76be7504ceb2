"""Limits of the system that are lowered for a runner while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from tests.runner_process import RunnerProcess

needs_prlimit = pytest.mark.skipif(
    not hasattr(psutil.Process, "rlimit"),
    reason="only Linux lets a test change the limits of a process that runs",
)


@contextlib.contextmanager
def limited(runner: RunnerProcess, resource: str, limit: int) -> Iterator[None]:
    """Lower a limit of the runner's process, for a while."""
    process, number = psutil.Process(runner.pid), getattr(psutil, resource)
    before = process.rlimit(number)
    process.rlimit(number, (limit, before[1]))
    try:
        yield
    finally:
        process.rlimit(number, before)
