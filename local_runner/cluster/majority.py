"""Whether the broker that is connected to has the majority of the brokers behind it.

One that is cut off with a minority takes connections and carries messages, but renews no leases.
Pure: the time is passed in, in seconds of one clock.
"""

from __future__ import annotations

MINORITY_SECONDS = 5.0
"""How long the majority may lack what is sent to a broker until another one is connected to. The
shortest lease, 15 seconds, has room for that twice, a second to notice and one to connect included.
An election of a leader, during which no broker has it, takes up to 9."""

PATIENT_SECONDS = 60.0
"""What that is doubled up to, once for each time that all brokers have been tried in vain."""


class Majority:
    """What is known of it. It outlives a connection.

    Attributes:
        leaving: Why to connect to another broker, or None.
    """

    def __init__(self, brokers: int) -> None:
        """Begin without a connection.

        Args:
            brokers: How many there are to connect to.
        """
        self.leaving: str | None = None
        self._brokers = brokers
        self._left = 0
        self._since = self._had = 0.0

    def connected(self, now: float) -> None:
        """Begin with another connection."""
        self._since = now
        if self.leaving is None:
            self._had = now
        else:
            self._left += 1
        self.leaving = None

    def note(self, reason: str | None, now: float) -> None:
        """Note that the majority has got what was sent, or why not."""
        if reason is None:
            self._since = self._had = now
            self._left = 0
            self.leaving = None
            return
        rounds = self._left // self._brokers
        patience = min(MINORITY_SECONDS * 2**rounds, PATIENT_SECONDS)
        if self._brokers > 1 and now - self._since >= patience:
            self.leaving = reason

    def lacking_seconds(self, now: float) -> float:
        """How long it has got nothing, on this connection and those that were left for that."""
        return now - self._had
