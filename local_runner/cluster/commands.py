"""What the command line does for a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from local_runner import log
from local_runner.cluster.agent import Agent
from local_runner.cluster.broker import broker
from local_runner.cluster.config import AgentConfig, load_agent
from local_runner.cluster.front import Front
from local_runner.cluster.messages import agent_inbox
from local_runner.config_file import ConfigError
from local_runner.processes.given import Given, take_over
from local_runner.processes.launcher import Unreachable

__all__ = ["Front", "run_agent"]


def run_agent(path: Path) -> None:
    """Run an agent until it is told to stop.

    Args:
        path: Its configuration.

    Raises:
        click.ClickException: If it cannot run.
    """
    try:
        config = load_agent(path)
        for warning in config.warnings:
            log.event("warning", message=warning)
        asyncio.run(_run(config, path, take_over()))
    except (ConfigError, Unreachable) as error:
        raise click.ClickException(str(error)) from error


async def _run(config: AgentConfig, path: Path, given: Given) -> None:
    where = broker(config.nats, config.credentials, agent_inbox(config.agent_name))
    await Agent(config, path, where, given).run()
