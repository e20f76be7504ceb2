"""How the front hears that an agent is no more, from its keeper."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from local_runner.cluster.broker import BrokerRefuses, broker
from local_runner.cluster.config import load_agent
from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.messages import AgentId, Gone, agent_inbox, front_subject
from local_runner.config_file import ConfigError
from local_runner.tasks import cancel

RETRY_SECONDS = 0.5

SECONDS = 10.0
"""How long to try; then the front will find out by the lease."""


def tell(agent: str, config: str) -> None:
    """Tell the front that an agent was killed and that its scripts have ended.

    Args:
        agent: The id of the agent.
        config: Its configuration, for the broker.
    """
    with contextlib.suppress(ConfigError, BrokerRefuses, TimeoutError):
        asyncio.run(asyncio.wait_for(_tell(AgentId.parse(agent), Path(config)), SECONDS))


async def _tell(agent: AgentId, path: Path) -> None:
    config = load_agent(path)
    inbox = agent_inbox(agent.name)
    link = Link(broker(config.nats, config.credentials, inbox), f"keeper of {agent}", _no_clock)
    running = asyncio.create_task(link.run())
    try:
        await say(link, agent, "the agent was killed")
    finally:
        await cancel([running])


async def say(link: Link, agent: AgentId, reason: str) -> None:
    """Tell the front that an agent is no more, until it has heard."""
    message = Gone(reason=reason).encode()
    while True:
        await link.connected.wait()
        try:
            await link.request(front_subject(agent, "gone"), message, timeout=2)
        except BrokerAway:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def _no_clock() -> float:
    return 0.0
