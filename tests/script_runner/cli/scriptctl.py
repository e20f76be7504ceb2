"""Runs scriptctl as its users do: in a pipe, or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from scripts.waiting import wait_until

COMMAND = [sys.executable, "-m", "script_runner.cli"]
SECONDS = 60.0
NOBODY = "http://127.0.0.1:9"
ROWS, COLUMNS = 30, 100

Result = subprocess.CompletedProcess[bytes]


def scriptctl(url: str, *args: str, **variables: str) -> Result:
    """Run it to its end in pipes."""
    return subprocess.run(
        [*COMMAND, *args], env=environment(url, variables), capture_output=True, timeout=SECONDS
    )


def started(url: str, *args: str) -> subprocess.Popen[bytes]:
    """Start it in pipes."""
    return subprocess.Popen(
        [*COMMAND, *args],
        env=environment(url, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def environment(url: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a user who has named a runner."""
    # The size is that of the terminal, not of what runs the tests.
    out = {"NO_COLOR", "COLUMNS", "LINES"}
    inherited = {key: text for key, text in os.environ.items() if key not in out}
    return {**inherited, "SCRIPT_RUNNER_URL": url, "TERM": "xterm-256color", **variables}


def let_go(folder: Path) -> None:
    """Let a script go on that waits for the file `go` in the folder."""
    (folder / "go").touch()


class Terminal:
    """scriptctl on a terminal of its own, or another program.

    Attributes:
        process: The process.
    """

    def __init__(
        self, url: str, *args: str, command: Sequence[str] = COMMAND, **variables: str
    ) -> None:
        """Start it."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [*command, *args],
            env=environment(url, variables),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._written += os.read(self._ours, 4096)
            except OSError:
                # EIO: nobody has it open any more.
                return

    @property
    def written(self) -> str:
        """What was written to it so far."""
        return self._written.decode()

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def shows(self, text: str, after: int = 0) -> None:
        """Wait until a text was written, after so many characters."""
        wait_until(lambda: text in self.written[after:], SECONDS)

    def ended(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self.process.wait(SECONDS)
        self._reader.join()
        return code

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.process.kill()
        self.ended()
        os.close(self._ours)


def screen(written: str) -> list[str]:
    """The lines that a terminal shows after what was written to it, without colours."""
    lines = [""]
    for part in re.split(r"(\r\n|\r|\n|\x1b\[[0-9;]*[A-Za-z])", written):
        if part in ("\r\n", "\n"):
            lines.append("")
        elif part in ("\r", "\x1b[K"):
            # These are all that scriptctl and its scripts use, one after the other.
            lines[-1] = ""
        elif not part.startswith("\x1b"):
            lines[-1] += part
    return lines
