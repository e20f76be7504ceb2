"""The limits of a runner that runs, lowered for a while; whether it works again after that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from scripts.runner_process import RunnerProcess

needs_prlimit = pytest.mark.skipif(
    not hasattr(psutil.Process, "rlimit"),
    reason="only Linux lets a test change the limits of a process that runs",
)


@contextmanager
def limited(runner: RunnerProcess, resource: str, limit: int) -> Iterator[None]:
    """Lower a limit of the runner's process, for a while."""
    process, number = psutil.Process(runner.pid), getattr(psutil, resource)
    before = process.rlimit(number)
    process.rlimit(number, (limit, before[1]))
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):  # it has been stopped meanwhile
            process.rlimit(number, before)


def assert_works(runner: RunnerProcess) -> None:
    """Run a job from its start to its log."""
    job = runner.run("hello")
    assert (job["status"], job["code"], job["stdoutPreview"]) == ("succeeded", 0, "hello\n")
    assert runner.log(job["jobId"]) == "hello\n"
