"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 10.0
"""Long for a busy machine, short for somebody who waits for what hangs."""

POLL_SECONDS = 0.01


def wait_until(condition: Callable[[], T | None], seconds: float = WAIT_SECONDS) -> T:
    """Call `condition` until it returns something true, and return that.

    Args:
        condition: What is waited for; called at least once.
        seconds: How long.

    Raises:
        TimeoutError: If it is not true by then.
    """
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {value!r} after {seconds} s")
        time.sleep(POLL_SECONDS)
