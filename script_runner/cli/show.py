"""Prints jobs, scripts and agents: as tables on a terminal; in a pipe with tabs and no heads.

What makes the tables is imported for a terminal alone.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence

from generated_client.models import Job
from script_runner.cli import words
from script_runner.cli.lists import Agent, ListedJob, Script


def jobs(found: Sequence[ListedJob], next_id: str | None) -> None:
    """Print a page of jobs, the next of which begins before `next_id`."""
    if sys.stdout.isatty():
        from script_runner.cli import tables

        tables.print_jobs(found, next_id)
        return
    _print_tabs(
        (
            each.job.job_id,
            each.job.status,
            words.exit_code(each.job),
            each.job.script_id,
            words.json_of(each.job)["createdAt"],
            "" if each.job.duration_ms is None else each.job.duration_ms,
            shlex.join(each.args),
        )
        for each in found
    )


def scripts(found: Sequence[Script]) -> None:
    """Print the scripts."""
    if sys.stdout.isatty():
        from script_runner.cli import tables

        tables.print_scripts(found)
        return
    _print_tabs(
        (
            script.id,
            script.mode,
            script.timeout_sec,
            "" if script.max_concurrent is None else script.max_concurrent,
            script.running,
            script.queued,
            script.description or "",
        )
        for script in found
    )


def agents(found: Sequence[Agent]) -> None:
    """Print the agents."""
    if sys.stdout.isatty():
        from script_runner.cli import tables

        tables.print_agents(found)
        return
    _print_tabs(
        (agent.name, agent.state, agent.running, agent.slots, agent.labels, agent.host)
        for agent in found
    )


def job(found: Job) -> None:
    """Print a job, a field a line."""
    if sys.stdout.isatty():
        from script_runner.cli import tables

        tables.print_job(found)
        return
    document = words.json_of(found)
    shown = {key: value for key, value in document.items() if not key.endswith("Preview")}
    del shown["ok"]
    _print_tabs((key, "" if value is None else _plain(value)) for key, value in shown.items())


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print_tabs(rows: Iterable[Iterable[object]]) -> None:
    for row in rows:
        print(*(words.harmless(str(value)) for value in row), sep="\t")
