"""Print a run of a flow: a line for each thing that happens, and in the end what came out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from scripts.flow.condition import Condition
from scripts.flow.file import Flow
from scripts.flow.node import Listener, NodeRun, State
from scripts.flow.run import FlowRun

SHOWN_CHARACTERS = 200
"""How much of a long text the summary shows."""
SHOWN_ITEMS = 10
"""How many lines of a text, or items of an array, the summary shows."""
PROGRESS_STEP_PERCENT = 25
"""Progress is told only when it is this much further than the last told."""

_COLOURS = {
    State.FINISHED: "green",
    State.SKIPPED: "cyan",
    State.FAILED: "red",
    State.NOT_RUN: "yellow",
}


class Report(Listener):
    """Prints the run of a flow as it goes on.

    Args:
        flow: The flow.
        verbose: Whether an error is shown with its traceback.
    """

    def __init__(self, flow: Flow, *, verbose: bool) -> None:
        self._verbose = verbose
        self._width = max(map(len, flow.nodes))
        self._block_width = max(len(node.block.name) for node in flow.nodes.values())
        self._told_progress: dict[str, float] = {}

    def state_changed(self, run: NodeRun) -> None:
        """Print a line with the node, its block, its state and the seconds."""
        state = "started" if run.state is State.RUNNING else run.state.value
        line = f"{run.node.node_id:{self._width}}  {run.node.block.name:{self._block_width}}  "
        line += click.style(state, fg=_COLOURS.get(run.state))
        if run.seconds is not None:
            line += f"  {run.seconds:.2f} s"
        if run.state in (State.NOT_RUN, State.SKIPPED):
            line += f": {run.error}"
        click.echo(line)
        if run.state is State.FAILED:
            self._print(run, "error", (run.error or "") if self._verbose else run.message)

    def said(self, run: NodeRun, label: str, text: str) -> None:
        """Print a log or a warning, indented under its node; all but stdout is marked."""
        self._print(run, "" if label == "stdout" else label, text)

    def progressed(self, run: NodeRun) -> None:
        """Print the progress, indented under its node, when it is a good step further."""
        progress, told = run.progress or 0.0, self._told_progress.get(run.node.node_id, 0.0)
        if progress - told >= PROGRESS_STEP_PERCENT:
            self._told_progress[run.node.node_id] = progress
            self._print(run, "progress", f"{progress:.0f} %")

    def _print(self, run: NodeRun, label: str, text: str) -> None:
        colour = {"error": "red", "stderr": "yellow", "warning": "yellow"}.get(label)
        for line in text.rstrip("\n").split("\n"):
            margin = f"{run.node.node_id:{self._width}}  {label:>8} | "
            click.echo(click.style(margin, dim=True) + click.style(line, fg=colour))


def print_summary(run: FlowRun) -> None:
    """Print the outputs of every node, what went wrong, and a last line that says it all.

    Args:
        run: A run that is over.
    """
    for node_run in run.nodes.values():
        click.echo()
        click.echo(click.style(node_run.node.node_id, bold=True) + f" ({node_run.node.block.name})")
        for line in _node_lines(node_run):
            click.echo(f"  {line}")
    click.echo()
    for line in filter(None, [run.error, *run.cancelled]):
        click.echo(click.style(line, fg="red"))
    if run.error is not None:
        click.echo()
    counts = Counter(node_run.state for node_run in run.nodes.values())
    told = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    verdict = "OK" if run.exit_code == 0 else "FAILED"
    click.echo(click.style(f"{verdict}: {told} in {run.seconds:.2f} s", bold=True))


def _node_lines(run: NodeRun) -> Iterable[str]:
    if run.error is not None:
        first, *more = f"{run.state}: {run.message}".split("\n")
        for line in [first, *(f"  {line}" for line in more)]:
            yield click.style(line, fg=_COLOURS.get(run.state))
    if isinstance(run.node.block, Condition) and run.state is State.FINISHED and not run.outputs:
        yield "no case holds"
    for handle, value in run.outputs.items():
        lines = _shown(value)
        if len(lines) == 1:
            yield f"{handle} = {lines[0]}"
        else:
            yield f"{handle} ="
            yield from (f"  {line}" for line in lines)


def _shown(value: Any) -> list[str]:
    if isinstance(value, str) and "\n" in value.rstrip("\n"):
        return _first([_shorten(line) for line in value.rstrip("\n").split("\n")], "lines")
    if isinstance(value, list) and len(value) > 1:
        return _first([_shorten(_json(one)) for one in value], "items")
    return [_shorten(_json(value))]


def _first(lines: list[str], what: str) -> list[str]:
    more = len(lines) - SHOWN_ITEMS
    return lines if more <= 0 else [*lines[:SHOWN_ITEMS], f"... {more:,} more {what}"]


def _shorten(text: str) -> str:
    more = len(text) - SHOWN_CHARACTERS
    return text if more <= 0 else f"{text[:SHOWN_CHARACTERS]} ... {more:,} more characters"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
