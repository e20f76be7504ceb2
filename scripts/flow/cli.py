"""Run a flow on the real OOMOL Python executor, without OOMOL: `python -m scripts.flow.cli FLOW`.

`file` reads the flow, `block` and `condition` what its nodes run, with the rules of the engine for
YAML (`engine_yaml`, `document`) and for keys (`records`); `executor` talks to the executor, `run`
decides what runs when, `jobs` cancels what is left, `report` prints.
"""

from __future__ import annotations

import asyncio
import errno
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from scripts.flow.document import FlowFileError
from scripts.flow.executor import EXECUTOR
from scripts.flow.file import Flow, load_flow
from scripts.flow.jobs import URL_HANDLE
from scripts.flow.node import Listener
from scripts.flow.report import Report, print_summary
from scripts.flow.run import FlowRun
from scripts.flow.secrets import missing_secrets

DEFAULT_TIMEOUT_SECONDS = 600.0


@click.command()
@click.argument("flow", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NODE.HANDLE=VALUE",
    help="Give an input another value: JSON, or else a string.",
)
@click.option("--url", help=f"The value of {URL_HANDLE} wherever the flow gives it one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
@click.option("--verbose", is_flag=True, help="Show the traceback of a failed node.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds after which what still runs is ended, and its jobs are cancelled.",
)
@click.option(
    "--executor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The python-executor of another Python environment, instead of this one's.",
)
def main(
    flow: Path,
    inputs: tuple[str, ...],
    url: str | None,
    as_json: bool,
    verbose: bool,
    timeout: float,
    executor: Path | None,
) -> None:
    """Run FLOW, a flow's folder or file, on the OOMOL Python executor.

    Exits with 0 when all nodes finished or a condition skipped them, 1 when one failed or did not
    run, 2 for a wrong command line or flow file (then nothing was started), 130, 143 or 129 after
    SIGINT, SIGTERM or SIGHUP, which cancel the jobs that were started.
    """
    try:
        loaded = load_flow(flow)
        loaded = loaded.with_values({**_urls(loaded, url), **dict(map(_parse_input, inputs))})
        listener = Listener() if as_json else Report(loaded, verbose=verbose)
        run = FlowRun(loaded, listener, executor or EXECUTOR)
        sys.exit(_finish(run, timeout, as_json))
    except FlowFileError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _finish(run: FlowRun, timeout: float, as_json: bool) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A block may log what this terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    if not as_json:
        for warning in (*run.flow.warnings, *missing_secrets(run.flow)):
            click.echo(f"Warning: {warning}", err=True)
    asyncio.run(run.run(timeout))
    try:
        if as_json:
            click.echo(json.dumps(run.as_json(), indent=2))
        else:
            print_summary(run)
    except OSError as error:
        from script_runner.cli.output import forget_stdout

        forget_stdout()
        if error.errno not in (errno.EPIPE, errno.EIO):
            click.echo(f"Error: cannot print the outputs: {error.strerror}", err=True)
            return run.exit_code or 1
    return run.exit_code


def _urls(flow: Flow, url: str | None) -> dict[tuple[str, str], Any]:
    # Only if the flow has the input: to add it would hide that OOMOL never runs the node.
    nodes = [node for node in flow.nodes.values() if URL_HANDLE in node.inputs]
    return {} if url is None else {(node.node_id, URL_HANDLE): url for node in nodes}


def _parse_input(text: str) -> tuple[tuple[str, str], Any]:
    target, equals, value = text.partition("=")
    node_id, dot, handle = target.rpartition(".")
    if not (equals and dot):
        raise click.BadParameter(f"{text!r} is not NODE.HANDLE=VALUE", param_hint="--input")
    try:
        return (node_id, handle), json.loads(value)
    except json.JSONDecodeError:
        return (node_id, handle), value


if __name__ == "__main__":
    main()
