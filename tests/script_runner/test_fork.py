"""A process that is forked off: connections, caches and locks of its own."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from script_runner import connect
from script_runner.logs import LineIndexes
from script_runner.oomol import _stopping
from scripts.runner_process import RunnerProcess
from tests.script_runner.documented import documented
from tests.script_runner.page_server import asked_job, page_for
from tests.support.block_runner import run_block
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_response

pytestmark = pytest.mark.filterwarnings(
    # That is what is tested.
    "ignore:.*multi-threaded, use of fork.*:DeprecationWarning"
)


@contextlib.contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """Work in a child; at the end of the block it must have succeeded within 20 s."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    yield pid
    deadline = time.monotonic() + 20
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.01)
    assert ended[1] == 0


def test_children_get_their_own_responses_and_the_parent_keeps_its_connection(
    tmp_path: Path,
) -> None:
    with RunnerProcess(tmp_path, {"say": '#!/bin/sh\necho "$1"\n'}) as process:

        def run(name: str) -> str:
            inputs = {"script_id": "say", "args": [name], "script_runner_url": process.url}
            return str(run_block("run-script-sync", **inputs)["stdout"])

        def ask(name: str) -> None:
            for turn in range(15):
                assert run(f"{name} {turn}") == f"{name} {turn}\n"

        ask("parent")
        with contextlib.ExitStack() as children:
            for number in range(4):
                children.enter_context(child(partial(ask, f"child {number}")))
            ask("parent")


def echo(request: Request) -> Iterator[Step]:
    """The job or the page that was asked for."""
    if "/logs" in request.target:
        yield json_response(200, page_for(request, b"a line\n" * 1000))
    else:
        yield json_response(200, documented("getJob", "succeeded") | {"jobId": asked_job(request)})


def test_a_child_does_not_wait_for_a_lock_that_another_thread_held() -> None:
    with MisbehavingServer(echo) as server:
        runner = connect(server.url)
        runner.lines("job_1")
        held = threading.Event()
        go_on = threading.Event()

        def hold() -> None:
            with contextlib.ExitStack() as locks:
                for lock in locks_of(runner):
                    locks.enter_context(lock)
                held.set()
                go_on.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)
        try:

            def ask() -> None:
                assert connect(server.url).status("job_2").job_id == "job_2"
                assert connect(server.url).lines("job_1", limit=1).total_lines == 1000

            with child(ask):
                pass
        finally:
            go_on.set()
            thread.join()


@pytest.mark.parametrize(("verb", "module"), [("lines", "_reading"), ("wait", "_taking")])
def test_a_child_does_not_wait_for_what_another_thread_was_importing(
    verb: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"script_runner.{module}"
    importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    is_importing, go_on = threading.Event(), threading.Event()

    class SlowDisk:
        def find_spec(self, wanted: str, *_: object) -> None:
            if wanted == name and not is_importing.is_set():
                is_importing.set()
                go_on.wait(20)

    monkeypatch.setattr(sys, "meta_path", [SlowDisk(), *sys.meta_path])
    with MisbehavingServer(echo) as server:
        use = partial(getattr(connect(server.url), verb), "job_1")
        thread = threading.Thread(target=use)
        thread.start()
        is_importing.wait(20)
        # The fork waits for it, or comes first and the child can never go on.
        threading.Timer(0.3, go_on.set).start()
        with child(use):
            pass
        thread.join()


def locks_of(runner: object) -> list[threading.Lock]:
    """Every lock that a runner, its caches and `connect` hold, found by what they consist of."""
    found: dict[int, threading.Lock] = {}
    seen: set[int] = set()
    import script_runner._connect

    left: list[object] = [runner, script_runner._connect._connected]
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, type(threading.Lock())):
            found[id(thing)] = thing
        elif type(thing).__module__.startswith("script_runner"):
            left += vars(thing).values() if hasattr(thing, "__dict__") else []
        elif isinstance(thing, dict):
            left += thing.values()
    assert len(found) >= 4
    return list(found.values())


def test_an_index_is_remembered_in_each_process_for_itself() -> None:
    with MisbehavingServer(echo) as server:
        runner = connect(server.url)
        runner.lines("job_1", offset=500)

        def ask() -> None:
            before = len(indexes._by_log)
            assert before == 0
            assert runner.lines("job_1", offset=500).lines[0] == "a line"

        indexes: LineIndexes = runner._indexes
        with child(ask):
            pass
        assert len(indexes._by_log) == 1


def test_a_child_leaves_no_connection_of_its_parent_open() -> None:
    with MisbehavingServer(echo) as server:
        runner = connect(server.url)
        runner.status("job_1")
        go_on_read, go_on = os.pipe()
        with child(lambda: os.read(go_on_read, 1)):
            runner.close()
            deadline = time.monotonic() + 10
            while server.open_connections and time.monotonic() < deadline:
                time.sleep(0.01)
            # Held by the child as well, it would stay open.
            open_connections = server.open_connections
            os.write(go_on, b"x")
        os.close(go_on_read)
        os.close(go_on)
        assert open_connections == 0


def test_a_child_of_a_block_does_not_wait_for_a_lock_that_another_thread_held() -> None:
    with MisbehavingServer(echo) as server:
        inputs = {"job_id": "job_1", "script_runner_url": server.url}
        run_block("get-job-status", **inputs)
        held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            with _stopping.WATCH.lock:
                held.set()
                go_on.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)
        try:
            with child(lambda: run_block("get-job-status", **inputs)):
                pass
        finally:
            go_on.set()
            thread.join()
