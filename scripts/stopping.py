"""A command that is told to end ends what it started, too."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType


def stop_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP, with which a terminal ends; not under `nohup`, which has it ignored."""
    numbers = [signal.SIGTERM, signal.SIGHUP]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def exit_when_told() -> None:
    """Have each of `stop_signals` raise SystemExit, which leaves all `with` blocks."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in stop_signals():
        signal.signal(number, leave)


def run_child(command: Sequence[str], folder: Path) -> int:
    """Run a command; one that is left is told to end, and waited for.

    Args:
        command: The command, which ends what it started when it gets SIGTERM.
        folder: Where it runs.

    Returns:
        Its exit code.
    """
    with subprocess.Popen(command, cwd=folder) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.wait()  # A terminal tells both.
            raise
        except SystemExit:
            child.terminate()
            child.wait()
            raise
