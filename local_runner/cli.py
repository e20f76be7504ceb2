"""The command line: `local-runner init`, `check`, `start` and `agent`."""

from __future__ import annotations

import importlib
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

import click

from local_runner import config as configuration
from local_runner import log, starter
from local_runner.config import TOKEN_VARIABLE, Config, ConfigError, ConfigMissing
from local_runner.log import LogFormat
from local_runner.processes.launcher import Workers
from local_runner.processes.start_faults import script_fault

DEFAULT_CONFIG = "config.json"
AGENT_CONFIG = "agent.json"

NO_CONFIG = """\
There is no {path}. Write one, with a script to begin with:

  local-runner init

or say where yours is, with --config."""

WHAT_NEXT = """
Serve it:
  local-runner start{config}

Then run the script, in another terminal or on the page {url}/:
  scriptctl run hello Ada

Your own scripts go into {scripts}; `local-runner check{config}` says what is wrong."""

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration to use.",
)
host_option = click.option(
    "--host", metavar="ADDRESS", help="The address to listen on, instead of server.host."
)
port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port to listen on, instead of server.port; 0 takes a free one.",
)
log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to write the log on stderr: for people, or one JSON object a line.",
)


@click.group()
@click.version_option(package_name="script-runner-proxy", prog_name="local-runner")
def main() -> None:
    """Run allow-listed scripts on this machine for whoever may call the HTTP API.

    Which scripts, and who may call, is written in a config.json; a token for callers is taken from
    the environment variable SCRIPT_RUNNER_TOKEN.
    """


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(folder: Path) -> None:
    """Write a configuration and a first script into FOLDER.

    FOLDER is this one unless you name another. Nothing is overwritten.
    """
    try:
        written = starter.write(folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    config, scripts, *_ = written
    click.echo(f"Wrote {', '.join(map(str, written))}.")
    server = configuration.load(config).server
    option = "" if config == Path(DEFAULT_CONFIG) else f" --config {shlex.quote(str(config))}"
    url = f"http://{server.host}:{server.port}"
    click.echo(WHAT_NEXT.format(config=option, url=url, scripts=scripts))


@main.command()
@config_option
@host_option
@port_option
@log_format_option
@click.option(
    "--end-scripts",
    is_flag=True,
    help="With a cluster: end the scripts on the agents when this is stopped.",
)
def start(
    path: Path, host: str | None, port: int | None, log_format: LogFormat, end_scripts: bool
) -> None:
    """Serve the scripts of a configuration.

    It serves until Ctrl-C, SIGTERM or SIGHUP, which end the scripts; a second signal kills them.
    Jobs that wait stay queued for the next start. The scripts on the agents of a cluster go on, and
    the next start takes them up.
    """
    config = _load(path, host, port)
    if end_scripts and config.cluster is None:
        raise click.UsageError("--end-scripts is for a cluster; without one scripts always end")
    token = _token()
    _refuse_open_door(config, token)
    # Now: all other commands, an agent among them, do without a server and what it imports.
    from local_runner.http import server

    try:
        listener = server.listen(config.server)
        with log.to_stderr(log_format):
            for warning in _warnings(config):
                log.event("warning", message=warning)
            server.serve(config, listener, token, _workers_of(config, end_scripts))
    except (server.ServerError, ConfigError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=AGENT_CONFIG,
    show_default=True,
    help="The configuration to use.",
)
@log_format_option
def agent(path: Path, log_format: LogFormat) -> None:
    """Run scripts for a cluster, on this machine.

    The first SIGTERM or Ctrl-C lets the scripts that run end, the second one ends them.
    """
    commands = _cluster_commands()
    with log.to_stderr(log_format):
        commands.run_agent(path)


@main.command()
@click.option(
    "--config",
    "named",
    type=click.Path(path_type=Path),
    help=f"The configuration to check.  [default: {DEFAULT_CONFIG}, with --agent {AGENT_CONFIG}]",
)
@host_option
@port_option
@click.option("--agent", "is_agent", is_flag=True, help="It is the configuration of an agent.")
def check(named: Path | None, host: str | None, port: int | None, is_agent: bool) -> None:
    """Check a configuration and print what would be served.

    With a cluster it says as well whether the broker can be reached, and which agents are there.
    """
    path = named or Path(AGENT_CONFIG if is_agent else DEFAULT_CONFIG)
    if is_agent:
        _cluster_commands().check_agent(path)
        return
    config = _load(path, host, port)
    token = _token()
    _refuse_open_door(config, token)
    click.echo(f"{path} is valid.\n")
    click.echo(f"listens on   {config.server.host}:{config.server.port}")
    click.echo(f"callers      {_callers(config, token)}")
    jobs = config.runner.max_concurrent
    slots = "as many jobs as the agents have slots"
    at_once = slots if config.cluster else f"{jobs} job{'s' if jobs > 1 else ''}"
    click.echo(f"at once      {at_once}, the others queue")
    click.echo(f"history      {config.database} (the last {config.runner.max_jobs} jobs)")
    click.echo(
        f"logs         {config.runner.logs_dir} "
        f"(at most {config.runner.max_log_bytes_per_stream} bytes of a stream)\n"
    )
    if config.cluster is not None:
        _cluster_commands().check_cluster(config)
    width = max((len(script.id) for script in config.scripts), default=0)
    for script in config.scripts:
        limit = f"{script.timeout_sec} s" if script.timeout_sec else "no time limit"
        mode = script.mode or config.runner.default_mode
        click.echo(f"  {script.id:{width}}  {mode:5}  {limit:13}  {script.path}")
    for warning in _warnings(config):
        click.echo(f"\nwarning: {warning}")


def _load(path: Path, host: str | None, port: int | None) -> Config:
    try:
        config = configuration.load(path)
    except ConfigMissing as error:
        raise click.ClickException(NO_CONFIG.format(path=path)) from error
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    given = {"host": host, "port": port}
    changed = {name: value for name, value in given.items() if value is not None}
    return config.model_copy(update={"server": config.server.model_copy(update=changed)})


def _cluster_commands() -> ModuleType:
    """What is only there with the extra `cluster`, and only imported for it."""
    try:
        return importlib.import_module("local_runner.cluster.commands")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "nats":
            raise
        raise click.ClickException(
            "a cluster needs nats-py: install the extra cluster of script-runner-proxy: "
            "pip install '.[runner,cluster]' in its folder"
        ) from error


def _workers_of(config: Config, end_scripts: bool) -> Callable[[Config], Workers] | None:
    if config.cluster is None:
        return None
    front = _cluster_commands().Front
    return lambda config: cast(Workers, front(config, scripts_go_on=not end_scripts))


def _token() -> str | None:
    """The token of the environment; an empty one is none."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    try:
        (token or "").encode()
    except UnicodeEncodeError as error:
        raise click.ClickException(f"{TOKEN_VARIABLE} is not UTF-8: choose another") from error
    return token


def _refuse_open_door(config: Config, token: str | None) -> None:
    if config.server.is_loopback or token or config.server.allow_unauthenticated:
        return
    raise click.ClickException(
        f"{config.server.host} can be reached from other machines, and whoever reaches it could "
        f"run the scripts: set {TOKEN_VARIABLE} to a secret that callers must send, or listen on "
        '127.0.0.1 (--host 127.0.0.1), or write "allowUnauthenticated": true in "server" if you '
        "mean it"
    )


def _callers(config: Config, token: str | None) -> str:
    server = config.server
    parts = ["only this machine" if server.is_loopback else "other machines too"]
    parts.append("with the token" if token else "without a token")
    if server.allowed_hosts:
        parts.append(f"by the names {', '.join(server.allowed_hosts)} too")
    pages = ", ".join(server.allowed_origins)
    parts.append(f"web pages of {pages}" if pages else "no web pages but its own")
    return ", ".join(parts)


def _warnings(config: Config) -> list[str]:
    warnings = config.warnings
    # With a cluster the files are on other machines.
    for script in config.scripts if config.cluster is None else ():
        if fault := script_fault(script):
            warnings.append(f"script {script.id}: {script.path}: {fault}")
    if not config.server.is_loopback and not config.server.allowed_hosts:
        warnings.append(
            "other machines are refused until this one knows how they call it: list these names or "
            "addresses in server.allowedHosts"
        )
    return warnings
