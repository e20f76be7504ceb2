"""A runner that is broken off: what waits for it ends at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from script_runner import RunnerUnreachable, ScriptRunner
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.support.misbehaving_server import MisbehavingServer

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


def test_a_call_that_is_only_connecting_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    is_looking, go_on = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "slow.localhost":
            is_looking.set()
            go_on.wait(JOIN_SECONDS)
            return real("127.0.0.1", *rest, **more)
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    def silent(_: object) -> list[bytes]:
        server.stopped.wait()
        return []

    with MisbehavingServer(silent) as server, ThreadPoolExecutor(1) as threads:
        runner = ScriptRunner(f"http://slow.localhost:{server.port}", timeout=600)
        call = threads.submit(runner.status, "job_1")
        assert is_looking.wait(JOIN_SECONDS)
        runner.break_off("the house is on fire.")
        go_on.set()
        with pytest.raises(RunnerUnreachable, match="the house is on fire"):
            call.result(JOIN_SECONDS)
