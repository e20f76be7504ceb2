"""A runner that is broken off: what waits for it ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from script_runner import RunnerUnreachable, ScriptRunner
from scripts.runner_process import RunnerProcess
from tests.support.waiting import wait_until

JOIN_SECONDS = 20.0
"""How long a call that is broken off may take to end; by itself it would take minutes."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunnerProcess]:
    """A local runner with a script that takes long."""
    with RunnerProcess(tmp_path, {"long": "#!/bin/sh\nsleep 600\n"}) as started:
        yield started


def test_calls_and_waits_of_all_threads_end_and_say_why(served: RunnerProcess) -> None:
    runner = ScriptRunner(served.url)
    job_id = runner.start("long")
    polled = threading.Event()
    errors: list[str] = []

    def fails(call: Callable[[], object]) -> None:
        with pytest.raises(RunnerUnreachable) as failure:
            call()
        errors.append(str(failure.value))

    calls: list[Callable[[], object]] = [
        lambda: runner.run("long"),
        lambda: runner.wait(job_id, timeout=600, on_poll=lambda _: polled.set()),
    ]
    threads = [threading.Thread(target=fails, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    wait_until(lambda: polled.is_set() and len(served.http.get("/jobs").json()["jobs"]) == 2)

    runner.break_off("the house is on fire.")

    for thread in threads:
        thread.join(JOIN_SECONDS)
    fails(lambda: runner.status(job_id))
    assert errors == [f"{served.url}: the house is on fire."] * 3
