"""What is said without waiting: whatever is lost on the way is said again, or asked for again."""

from __future__ import annotations

import contextlib

from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.messages import AgentId, Tell, agent_subject
from local_runner.tasks import Tasks


class Voice(Tasks):
    """Says things over a link, and sees other work to its end."""

    def __init__(self, link: Link) -> None:
        """Speak over a link."""
        super().__init__()
        self._link = link

    def tell(self, agent: AgentId, tell: Tell) -> None:
        """Tell an agent something."""
        self.spawn(self.say(agent_subject(agent), tell.encode()))

    async def say(self, subject: str, data: bytes) -> None:
        """Say something, if there is a connection."""
        with contextlib.suppress(BrokerAway):
            await self._link.publish(subject, data)

    def can_say(self, data: bytes) -> bool:
        """Whether the broker takes a message of this size."""
        try:
            return len(data) <= self._link.max_payload
        except BrokerAway:
            return True
