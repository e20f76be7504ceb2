"""How files are opened by threads beside the event loop."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

ATTEMPTS = 4
ATTEMPT_SECONDS = 0.002
"""A script gets the limit of open files that the runner was given. While one is started the limit
holds for all threads, which takes less than this."""


def open_file(path: Path | str, flags: int, mode: int = 0o600) -> int:
    """Open a file that no script inherits; see `os.open`."""
    for _ in range(ATTEMPTS - 1):
        try:
            return os.open(path, flags | os.O_CLOEXEC, mode)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            time.sleep(ATTEMPT_SECONDS)
    return os.open(path, flags | os.O_CLOEXEC, mode)
