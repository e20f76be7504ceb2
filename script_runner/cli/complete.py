"""What a shell completes: ids of scripts and jobs; quietly nothing without a runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from script_runner import ScriptRunner, ScriptRunnerError
from script_runner._settings import DEFAULT_URL, Settings
from script_runner.cli import lists
from script_runner.cli.words import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS = 1.0
"""The longest that a key press may take."""

SHOWN_JOBS = 50


def scripts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the scripts, with what they do."""
    try:
        with _runner(ctx) as runner:
            found = lists.list_scripts(runner).scripts
    except ScriptRunnerError:
        return []
    return _items(((each.id, each.description or "") for each in found), incomplete)


def jobs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the newest jobs, with what they are."""
    try:
        with _runner(ctx) as runner:
            found = lists.list_jobs(runner, limit=SHOWN_JOBS).jobs
    except ScriptRunnerError:
        return []
    pairs = ((each.job.job_id, f"{each.job.script_id}, {each.job.status}") for each in found)
    return _items(pairs, incomplete)


def _runner(ctx: click.Context) -> ScriptRunner:
    options = ctx.find_root().obj
    url = options.url if options else DEFAULT_URL
    return ScriptRunner(url, timeout=SECONDS, settings=Settings(connect_seconds=SECONDS))


def _items(pairs: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(value, help=harmless(help_text))
        for value, help_text in pairs
        # One that cannot be typed would end up in a command as something else.
        if value.startswith(incomplete) and value == harmless(value)
    ]
