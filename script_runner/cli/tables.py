"""What a terminal shows: tables, a job, the line below the output."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from generated_client.models import Job
from script_runner._status import Status, has_ended
from script_runner.cli import words
from script_runner.cli.lists import Agent, ListedJob, Script
from script_runner.cli.words import harmless

BAR_COLUMNS = 40

LEAST_COLUMNS = 5
"""What is left of the column of a table that gives way."""

_LOOKS: Mapping[str, tuple[str, str]] = {
    Status.QUEUED: ("○", "yellow"),
    Status.RUNNING: ("●", "cyan"),
    Status.SUCCEEDED: ("✓", "green"),
    Status.FAILED: ("✗", "red"),
    Status.TIMED_OUT: ("✗", "red"),
    Status.CANCELED: ("-", "bright_black"),
}
"""The mark and the colour of each status."""

_OTHER_LOOK = ("?", "")

_VERBS: Mapping[str, str] = {
    Status.TIMED_OUT: "was ended by its time limit",
    Status.CANCELED: "was cancelled",
}
"""What a job has done, if it is not the word of its status."""


def print_jobs(jobs: Sequence[ListedJob], next_id: str | None) -> None:
    """Print a page of jobs."""
    now = _now()
    console = _console()
    if not jobs:
        console.print(Text("No jobs.", style="bright_black"))
        return
    table = _table("status", "job", "script", "arguments", "accepted", "took")
    table.columns[3].ratio = 1
    table.columns[5].justify = "right"
    for each in jobs:
        job = each.job
        seconds = words.seconds_of(job, now)
        table.add_row(
            _status(job),
            _text(job.job_id, "bold"),
            _text(job.script_id),
            _text(shlex.join(each.args), "bright_black"),
            words.ago(job.created_at, now),
            "" if seconds is None else words.duration(seconds),
        )
    _print(console, table)
    if next_id is not None:
        older = _text(f"Older ones: scriptctl jobs --before {next_id}", "bright_black")
        console.print(older, soft_wrap=True)


def print_scripts(scripts: Sequence[Script]) -> None:
    """Print the scripts."""
    console = _console()
    if not scripts:
        console.print(Text("No scripts.", style="bright_black"))
        return
    table = _table("script", "description", "arguments", "time limit", "now")
    table.columns[1].ratio = 1
    for script in scripts:
        at_once = script.max_concurrent
        now = [f"{script.running} running"] if script.running else []
        now += [f"{script.queued} queued"] if script.queued else []
        table.add_row(
            _text(script.id, "bold"),
            _text(script.description or "", "bright_black"),
            f"up to {script.max_items}" if script.max_items else "none",
            words.duration(script.timeout_sec) if script.timeout_sec else "",
            Text(", ".join(now), style="cyan")
            if now
            else _text(f"at most {at_once} at once" if at_once else "", "bright_black"),
        )
    _print(console, table)


def print_agents(agents: Sequence[Agent]) -> None:
    """Print the agents."""
    console = _console()
    if not agents:
        console.print(Text("No agents.", style="bright_black"))
        return
    table = _table("agent", "state", "running", "labels", "host")
    table.columns[3].ratio = 1
    for agent in agents:
        table.add_row(
            _text(agent.name, "bold"),
            _text(agent.state, "green" if agent.state == "ready" else "yellow"),
            f"{agent.running} of {agent.slots}",
            _text(agent.labels),
            _text(agent.host, "bright_black"),
        )
    _print(console, table)


def print_job(job: Job) -> None:
    """Print a job, a field a line."""
    now = _now()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black")
    table.add_column()
    for name, value in _fields(job, now):
        table.add_row(name, value)
    console = _console()
    console.print(Text.assemble((harmless(job.job_id), "bold"), "  ", _status(job)))
    console.print(table)


def _fields(job: Job, now: datetime.datetime) -> Iterable[tuple[str, RenderableType]]:
    yield "script", _text(job.script_id)
    if code := words.exit_code(job):
        yield "exit code", code
    moments = {"accepted": job.created_at, "started": job.started_at, "ended": job.ended_at}
    for name, moment in moments.items():
        if moment is not None:
            relative = (f"  {words.ago(moment, now)}", "bright_black")
            yield name, Text.assemble(words.local_time(moment), relative)
    seconds = words.seconds_of(job, now)
    if seconds is not None:
        yield "took" if has_ended(job) else "running for", words.duration(seconds)
    for name, count, is_cut in (
        ("stdout", job.stdout_size, job.stdout_truncated),
        ("stderr", job.stderr_size, job.stderr_truncated),
    ):
        yield name, words.size(count) + (", not all was kept" if is_cut else "")


def status_line(job: Job, percent: float | None, now: datetime.datetime) -> str:
    """The line below the output of a job, for stderr."""
    console = _console(is_for_stderr=True)
    table = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [_status(job)]
    seconds = words.seconds_of(job, now)
    if percent is not None:
        columns = max(5, min(BAR_COLUMNS, console.width - 40))
        bar = ProgressBar(
            completed=percent,
            width=columns,
            style="bright_black",
            complete_style="cyan",
            finished_style="green",
        )
        cells = [bar, f"{percent:3.0f}%"]
    elif job.status == Status.QUEUED:
        cells.append(Text("until the runner is free", style="bright_black"))
    if seconds is not None:
        cells.append(Text(words.duration(int(seconds)), style="bright_black"))
    for _ in cells:
        table.add_column(no_wrap=True)
    table.add_row(*cells)
    with console.capture() as capture:
        console.print(table, end="")
    return capture.get().rstrip("\n")


def conclusion(job: Job) -> str:
    """How a job has ended, for stderr, such as `✗ job_1 failed with exit code 3 after 2 s`."""
    console = _console(is_for_stderr=True)
    mark, colour = _LOOKS.get(job.status, _OTHER_LOOK)
    parts = [harmless(job.job_id), _VERBS.get(job.status, harmless(job.status))]
    if job.status == Status.FAILED and (code := words.exit_code(job)):
        parts.append(f"with exit code {code}")
    if job.duration_ms is not None:
        parts.append(f"after {words.duration(job.duration_ms / 1000)}")
    with console.capture() as capture:
        console.print(Text.assemble((mark, colour), " ", " ".join(parts)), soft_wrap=True)
    return capture.get()


def _console(*, is_for_stderr: bool = False) -> Console:
    return Console(stderr=is_for_stderr, highlight=False, markup=False, emoji=False)


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    for head in heads:
        table.add_column(head.upper(), no_wrap=True, overflow="ellipsis")
    return table


def _print(console: Console, table: Table) -> None:
    """Print a table as wide as it is; in a narrower terminal the column with a ratio gives way, and
    then the last ones, so that the ids stay whole."""
    unbounded = console.options.update(width=10_000)

    def is_too_wide() -> bool:
        return console.measure(table, options=unbounded).maximum > console.width

    if is_too_wide():
        (flexible,) = (column for column in table.columns if column.ratio)
        flexible.width = LEAST_COLUMNS
        while is_too_wide() and len(table.columns) > 2:
            table.columns.pop()
        flexible.width, table.expand = None, flexible in table.columns
    console.print(table)


def _status(job: Job) -> Text:
    word = words.STATUS_WORDS.get(job.status, harmless(job.status))
    mark, colour = _LOOKS.get(job.status, _OTHER_LOOK)
    code = (
        f" ({words.exit_code(job)})" if job.status == Status.FAILED and words.exit_code(job) else ""
    )
    return Text(f"{mark} {word}{code}", style=colour)


def _text(text: str, style: str = "") -> Text:
    return Text(harmless(text), style=style)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
