"""Ctrl-C and SIGTERM while a job runs: the first cancels it, the second leaves it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from script_runner import ScriptRunner, ScriptRunnerError
from script_runner.cli.words import harmless


class Interrupts:
    """Listens to the signals inside its block.

    The signal that came first cancels the job, which is then still waited for. The second one
    raises KeyboardInterrupt. One that this process was told to ignore, as by nohup, stays ignored.

    Attributes:
        signal: The one that came first; None if none came.
        job_id: The job; None until it is known.
    """

    def __init__(self, runner: ScriptRunner, fresh_line: Callable[[], str]) -> None:
        """Prepare it.

        Args:
            runner: The runner of the job.
            fresh_line: Gives what to write to stderr before something is said there.
        """
        self.signal: int | None = None
        self.job_id: str | None = None
        self._runner = runner
        self._fresh_line = fresh_line
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def started(self, job_id: str) -> None:
        """Name the job; it is cancelled if a signal came while it was being started."""
        self.job_id = job_id
        if self.signal is not None:
            self._cancel(job_id)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        if self.job_id is not None:
            self._cancel(self.job_id)

    def _cancel(self, job_id: str) -> None:
        self._say(f"cancelling {job_id}; once more leaves it running")
        # Its own thread: the call that was interrupted goes on, and with it the output.
        threading.Thread(target=self._call, args=(job_id,), daemon=True).start()

    def _call(self, job_id: str) -> None:
        try:
            self._runner.cancel(job_id)
        except ScriptRunnerError as error:
            self._say(f"{job_id} could not be cancelled: {error}")

    def _say(self, sentence: str) -> None:
        """Say it at once; what a signal has interrupted may be a `print`."""
        line = f"{self._fresh_line()}scriptctl: {harmless(sentence)}\n"
        os.write(sys.stderr.fileno(), line.encode())
