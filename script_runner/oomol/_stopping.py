"""End what blocks wait for when OOMOL's executor is told to stop.

Each block runs in a thread of the executor. Ctrl-C ends only its main thread, and the process then
waits for all others: up to the 300 s of a sync run, or the whole timeout of a wait.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref

from script_runner._client import ScriptRunner

REASON = "the executor was told to stop. A script that was started goes on: see the runner's jobs."

_runners: weakref.WeakSet[ScriptRunner] = weakref.WeakSet()
_lock = threading.Lock()


def end_with_executor(runner: ScriptRunner) -> None:
    """Break off what this runner is asked for when the main thread of this process has ended."""
    with _lock:
        _runners.add(runner)
        _watch()


@functools.cache
def _watch() -> None:
    main = threading.main_thread()
    # A process that has no threads left has other worries, and goes on as it would without this.
    with contextlib.suppress(RuntimeError):
        if main.is_alive():
            threading.Thread(target=_break_off_after, args=(main,), daemon=True).start()


def _break_off_after(main: threading.Thread) -> None:
    main.join()
    with _lock:
        for runner in _runners:
            runner.break_off(REASON)
