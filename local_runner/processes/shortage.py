"""When the system can give no more: open files, memory, processes."""

from __future__ import annotations

import errno

OUT_OF_RESOURCES = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}
)
"""The errors of a system that can give no more just now."""


class OutOfResources(Exception):
    """Something could not be begun because the system can give no more just now; try again.

    The message is the reason, as the system says it.
    """

    def __init__(self, error: OSError) -> None:
        """Take the reason from an error of the system."""
        super().__init__(error.strerror)


def is_shortage(error: OSError) -> bool:
    """Whether an error of the system is one that goes away by itself."""
    return error.errno in OUT_OF_RESOURCES
