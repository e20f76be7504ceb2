"""What the runner was given by whoever started it: scripts get that, whatever it needs itself."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from dataclasses import dataclass

from local_runner import log


@dataclass(frozen=True)
class Given:
    """What a process hands on to those it starts.

    Attributes:
        open_files: The soft limit of open files.
        signal_mask: The signals that are blocked.
        ignores_children: Whether SIGCHLD is ignored.
    """

    open_files: int
    signal_mask: frozenset[int]
    ignores_children: bool

    @classmethod
    def now(cls) -> Given:
        """What this process has now."""
        return cls(
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN,
        )


def take_over() -> Given:
    """Note what this process was given, and give it what a runner needs.

    All signals are let in. The ends of children are told. stdin, stdout and stderr are open, and no
    other file is handed on. The soft limit of open files becomes the hard one: each waiting request
    holds one, each script five.
    """
    given = Given.now()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for file in range(3):
        with contextlib.suppress(OSError):
            os.fstat(file)
            continue
        os.open(os.devnull, os.O_RDWR)
    for file in map(int, os.listdir("/dev/fd")):  # noqa: PTH208
        with contextlib.suppress(OSError):  # such as that of the list itself
            if file > 2:
                os.set_inheritable(file, False)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        # macOS may refuse its own "unlimited".
        message = f"at most {given.open_files} files may be open: {error}"
        log.event("warning", message=message)
    return given
