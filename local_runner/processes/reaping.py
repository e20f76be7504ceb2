"""What a process owes to children that it did not start: to wait for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Container

LOOK_AGAIN_SECONDS = 0.05
"""When to look again if a script of the runner's own has ended that is about to be waited for."""


def gets_orphans() -> bool:
    """Whether this process, which has started none yet, has children or will get some.

    The first process of a container gets all whose parent has ended. Others have what a shell had
    that became this process: `helper & exec local-runner start`.
    """
    if os.getpid() == 1:
        return True
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # one that has ended by now
        return hasattr(os, "waitid")  # not so in older versions on macOS
    return False


class OrphanReaper:
    """Waits for children that are not the runner's own, so that none stays a zombie."""

    def __init__(self, own: Container[int]) -> None:
        """Prepare.

        Args:
            own: The process ids of those that are waited for elsewhere, as they are at any time.
        """
        self._own = own
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Wait for those that there are, and for all that come."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._reap()

    def _reap(self) -> None:
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, ended):
                if found.si_pid in self._own:
                    # Nobody can look behind it before it is gone.
                    self._loop.call_later(LOOK_AGAIN_SECONDS, self._reap)
                    return
                os.waitpid(found.si_pid, os.WNOHANG)
