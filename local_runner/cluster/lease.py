"""Who may count whom as dead. Pure: the time is passed in, in seconds of one clock.

An agent that has not heard the broker for a lease ends its scripts. A front that has not heard an
agent for longer than that takes may call its jobs lost: they are dead.
"""

from __future__ import annotations

HEARD_SECONDS = 5.0
"""A front asks the broker each second, and gives it up when it is silent for 3 seconds: if its
responses are further apart than this there was a break."""

MARGIN_SECONDS = 4.0
"""What the front adds to lease and grace: a second between two hellos, one for the keeper of a
frozen agent to notice, one until processes that were killed are gone, one for a busy machine."""


class Lease:
    """An agent's: how long it may count on the front not to have given it up."""

    def __init__(self, now: float) -> None:
        """Begin as if the broker had been heard just now.

        Attributes:
            seconds: How long it lasts; 0 before a front has said so, when there is no script.
        """
        self.seconds = 0.0
        self._asked = now

    def heard(self, asked: float) -> None:
        """Note a response of the broker to what was asked at that time."""
        self._asked = max(self._asked, asked)

    def remaining(self, now: float) -> float:
        """Seconds until scripts must be told to end; 0 or less when they must."""
        return self._asked + self.seconds - now


class Contact:
    """A front's: since when it has heard the broker without a break.

    Whatever was not heard in a break says nothing about the others.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._asked: float | None = None
        self._since = 0.0

    def heard(self, asked: float) -> None:
        """Note a response of the broker to what was asked at that time."""
        if self._asked is None or asked - self._asked > HEARD_SECONDS:
            self._since = asked
        self._asked = asked

    def since(self, now: float) -> float | None:
        """Since when there is contact; None if there is none now."""
        if self._asked is None or now - self._asked > HEARD_SECONDS:
            return None
        return self._since


def is_dead(
    now: float, heard: float, contact_since: float | None, lease: float, grace: float
) -> bool:
    """Whether a front may call an agent dead that it does not hear.

    Args:
        now: The time.
        heard: When the agent was heard last.
        contact_since: See `Contact.since`.
        lease: The lease that the agent keeps.
        grace: From SIGTERM to SIGKILL of its scripts.
    """
    if contact_since is None:
        return False
    return now - max(heard, contact_since) > lease + grace + MARGIN_SECONDS
