"""End what blocks wait for when OOMOL's executor is told to stop.

Each block runs in a thread of the executor. Ctrl-C ends only its main thread, and the process then
waits for all others: up to the 300 s of a sync run, or the whole timeout of a wait.
"""

from __future__ import annotations

import contextlib
import threading
import weakref

from script_runner._client import ScriptRunner
from script_runner._fork import renew_after_fork

REASON = "the executor was told to stop. A script that was started goes on: see the runner's jobs."


class Watch:
    """Breaks off what blocks ask when the main thread of this process has ended.

    Attributes:
        lock: Held while a runner is added, and while all are broken off.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin anew: a child has another main thread, and no thread that watches it."""
        self.lock = threading.Lock()
        self._runners: weakref.WeakSet[ScriptRunner] = weakref.WeakSet()
        self._is_watching = False

    def add(self, runner: ScriptRunner) -> None:
        """Break off what this runner is asked for, too."""
        with self.lock:
            self._runners.add(runner)
            main = threading.main_thread()
            if self._is_watching or not main.is_alive():
                return
            # A process that has no threads left has other worries, and goes on without this.
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._break_off_after, args=(main,), daemon=True).start()
                self._is_watching = True

    def _break_off_after(self, main: threading.Thread) -> None:
        main.join()
        with self.lock:
            for runner in self._runners:
                runner.break_off(REASON)


WATCH = Watch()
"""The one of this process."""
