"""What the command line does for a cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import click
from nats.aio.msg import Msg

from local_runner import log
from local_runner.cluster.agent import Agent
from local_runner.cluster.broker import broker
from local_runner.cluster.config import AgentConfig, load_agent
from local_runner.cluster.front import Front
from local_runner.cluster.keeper import clock
from local_runner.cluster.link import Link
from local_runner.cluster.messages import (
    FRONT_INBOX,
    TO_FRONT,
    Catalog,
    Hello,
    Tell,
    agent_inbox,
    agent_subject,
    parse,
    sender_of,
)
from local_runner.cluster.roster import Roster
from local_runner.config import Config
from local_runner.config_file import ConfigError, ConfigMissing
from local_runner.processes.given import Given, take_over
from local_runner.processes.launcher import Unreachable
from local_runner.processes.reaping import OrphanReaper, gets_orphans
from local_runner.tasks import cancel

__all__ = ["Front", "check_agent", "check_cluster", "run_agent"]

NO_AGENT = """\
There is no {path}. Write one, such as

  {{"nats": ["tls://broker.example:4222"], "credentials": "./agent.creds",
   "slots": 4, "scriptsFile": "./scripts.json"}}

or say where yours is, with --config."""

LISTEN_SECONDS = 2.0
"""An agent says each second that it is there."""


def run_agent(path: Path) -> None:
    """Run an agent until it is told to stop.

    Args:
        path: Its configuration.

    Raises:
        click.ClickException: If it cannot run.
    """
    config = _load_agent(path)
    try:
        for warning in config.warnings:
            log.event("warning", message=warning)
        asyncio.run(_run(config, path, take_over()))
    except (ConfigError, Unreachable) as error:
        raise click.ClickException(str(error)) from error


def _load_agent(path: Path) -> AgentConfig:
    try:
        return load_agent(path)
    except ConfigMissing as error:
        raise click.ClickException(NO_AGENT.format(path=path)) from error
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


async def _run(config: AgentConfig, path: Path, given: Given) -> None:
    where = broker(config.nats, config.credentials, agent_inbox(config.agent_name))
    has_orphans = gets_orphans()  # before it has a child of its own
    agent = Agent(config, path, where, given)
    if has_orphans:
        OrphanReaper(agent.launcher.pids).begin()
    await agent.run()


def check_agent(path: Path) -> None:
    """Check the configuration of an agent, and whether the broker lets it in.

    Args:
        path: Its configuration.

    Raises:
        click.ClickException: If it cannot be used.
    """
    config = _load_agent(path)
    try:
        where = broker(config.nats, config.credentials, agent_inbox(config.agent_name))
        click.echo(f"{path} is valid.\n")
        click.echo(f"name         {config.agent_name}")
        click.echo(f"at once      {config.slots} script{'s' if config.slots > 1 else ''}")
        click.echo(f"labels       {', '.join(config.labels) or 'none'}")
        click.echo(f"broker       {asyncio.run(_reach(Link(where, 'check', clock)))}\n")
    except (ConfigError, Unreachable) as error:
        raise click.ClickException(str(error)) from error
    for script in config.scripts:
        click.echo(f"  {script.id}  {script.path}")
    for warning in config.warnings:
        click.echo(f"\nwarning: {warning}")


def check_cluster(config: Config) -> None:
    """Say whether the broker lets the front in, which agents are there, and what nobody can run.

    Args:
        config: The front's configuration, with a cluster.

    Raises:
        click.ClickException: If the broker refuses it.
    """
    cluster = config.cluster
    assert cluster is not None
    try:
        link = Link(broker(cluster.nats, cluster.credentials, FRONT_INBOX), "check", clock)
        roster = Roster(config.scripts)
        click.echo(f"broker       {asyncio.run(_reach(link, roster))}")
    except (ConfigError, Unreachable) as error:
        raise click.ClickException(str(error)) from error
    views = roster.views(Counter(), clock())
    click.echo(f"agents       {', '.join(view.name for view in views) or 'none is there'}\n")
    for script in roster.lacking(config.scripts, clock()) if views else ():
        with_labels = f" with the labels {', '.join(script.labels)}" if script.labels else ""
        click.echo(f"warning: no agent{with_labels} is there that lists {script.id}\n")


async def _reach(link: Link, roster: Roster | None = None) -> str:
    """Connect, and listen for a while to who is there; says whether there was a connection."""

    async def note(message: Msg) -> None:
        assert roster is not None
        agent, topic = sender_of(message.subject)
        state = roster.expect(agent, clock())
        if topic == "hello":
            state.hello, state.heard = parse(Hello, message.data), clock()
            await link.publish(agent_subject(agent), Tell(what="describe").encode())
        else:
            state.catalog = parse(Catalog, message.data)

    if roster is not None:
        topics = ("hello", "catalog")
        link.handlers = {f"{TO_FRONT}.*.*.{topic}": note for topic in topics}
    running = asyncio.create_task(link.run())
    tried = asyncio.create_task(link.tried.wait())
    await asyncio.wait([running, tried], return_when=asyncio.FIRST_COMPLETED)
    reached = link.connected.is_set()
    if reached and roster is not None:
        await asyncio.sleep(LISTEN_SECONDS)
    tried.cancel()
    if running.done():
        running.result()
    await cancel([running])
    return "lets us in" if reached else "is away"
