"""What lasts is said at once, and then now and then: one line a minute."""

from __future__ import annotations

from collections.abc import Callable

REMIND_SECONDS = 60.0


class Reminder:
    """Says when something is to be said again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with nothing said.

        Args:
            clock: The time in seconds.
        """
        self._clock = clock
        self._said: float | None = None

    def is_due(self) -> bool:
        """Whether to say it now: nobody has for `REMIND_SECONDS`."""
        now = self._clock()
        if self._said is not None and now - self._said < REMIND_SECONDS:
            return False
        self._said = now
        return True
