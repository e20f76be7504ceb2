"""A system that can start no process just now: a new run is refused, and is none of the history."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from local_runner.config import load
from local_runner.jobs.scheduler import Scheduler
from local_runner.processes.shortage import OutOfResources
from local_runner.storage.history import Store
from scripts.runner_process import RunnerProcess
from tests.local_runner.history import statuses_in_history

SCRIPTS = {"hello": "#!/bin/sh\necho hello\n", "waits": "#!/bin/sh\nexec sleep 300\n"}


def out_of(number: int) -> Callable[..., None]:
    """What starts a process when the system can give no more."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_a_run_is_refused_while_the_system_can_start_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    RunnerProcess(tmp_path, SCRIPTS)
    config = load(tmp_path / "config.json")
    store = Store(config.database)
    scheduler = Scheduler(config, store)
    await scheduler.recover()

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", out_of(number))
        with pytest.raises(OutOfResources, match=os.strerror(number)):
            await scheduler.run("hello", [], "async")
    job = await scheduler.run("hello", [], "async")
    await scheduler.ended(job)
    await scheduler.stop()
    await store.close()

    assert statuses_in_history(tmp_path) == {"succeeded": 1}


@pytest.mark.parametrize("is_hurried", [False, True])
async def test_an_accepted_job_that_waits_for_the_system_stays_queued_if_the_runner_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_hurried: bool
) -> None:
    RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1})
    config = load(tmp_path / "config.json")
    store = Store(config.database)
    scheduler = Scheduler(config, store)
    await scheduler.recover()
    first = await scheduler.run("waits", [], "async")
    waiting = await scheduler.run("hello", [], "async")
    accepted = await store.get(waiting.record.job_id)

    monkeypatch.setattr(os, "posix_spawn", out_of(errno.EMFILE))
    await scheduler.cancel(first.record.job_id)
    await first.settled.wait()
    while waiting.record.status == "queued":
        await asyncio.sleep(0.01)
    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0)
    if is_hurried:
        scheduler.kill()
    await stopping
    kept = await store.get(waiting.record.job_id)
    await store.close()

    assert accepted is not None
    assert kept == accepted
