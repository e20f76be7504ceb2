"""A system that can start no process just now: a new run is refused, and is none of the history."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from local_runner.config import load
from local_runner.jobs.scheduler import Scheduler
from local_runner.processes.shortage import OutOfResources
from local_runner.storage.history import Store
from scripts.runner_process import RunnerProcess
from tests.local_runner.history import statuses_in_history


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_a_run_is_refused_while_the_system_can_start_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    RunnerProcess(tmp_path, {"hello": "#!/bin/sh\necho hello\n"})
    config = load(tmp_path / "config.json")
    store = Store(config.database)
    scheduler = Scheduler(config, store)
    await scheduler.recover()

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", refuse)
        with pytest.raises(OutOfResources, match=os.strerror(number)):
            await scheduler.run("hello", [], "async")
    job = await scheduler.run("hello", [], "async")
    await scheduler.ended(job)
    await scheduler.stop()
    await store.close()

    assert statuses_in_history(tmp_path) == {"succeeded": 1}
