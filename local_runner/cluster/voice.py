"""What is said without waiting: whatever is lost on the way is said again, or asked for again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from local_runner.cluster.link import BrokerAway, Link, end
from local_runner.cluster.messages import AgentId, Tell, agent_subject


class Voice:
    """Says things over a link, and sees other work to its end."""

    def __init__(self, link: Link) -> None:
        """Speak over a link."""
        self._link = link
        self._tasks: set[asyncio.Task[Any]] = set()

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

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have some work done meanwhile."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """End all work."""
        await end(self._tasks)
