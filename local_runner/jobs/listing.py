"""Lists: some of the jobs, the newest first, and the scripts with what runs of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from local_runner.config import Mode, ScriptConfig
from local_runner.jobs.job import LiveJob
from local_runner.jobs.record import JobRecord

MAX_ARGS_SIZE = 1024 * 1024
"""The most characters that the arguments of the jobs of a page have; one job may have more."""


@dataclass(frozen=True)
class JobQuery:
    """Which jobs are asked for."""

    limit: int
    """The most jobs."""
    before: str | None = None
    """The id of a job; only older ones are wanted."""
    status: str | None = None
    """The status they must have; None for any."""
    script_id: str | None = None
    """The script they must be of; None for any."""

    def matches(self, record: JobRecord) -> bool:
        """Whether a job has the status and the script."""
        return self.status in (None, record.status) and self.script_id in (None, record.script_id)


@dataclass(frozen=True)
class JobList:
    """Some jobs, the newest first."""

    jobs: list[JobRecord]
    next_before: str | None
    """What `before` must be for the jobs that follow; None if there are none."""


@dataclass(frozen=True)
class ScriptState:
    """A script, and how many jobs of it run and wait now."""

    script: ScriptConfig
    mode: Mode
    """The mode of a run whose request names none."""
    running: int
    queued: int
    able: int | None
    """How many agents can run it now; None on one machine."""


AgentWord = Literal["ready", "draining", "away"]


@dataclass(frozen=True)
class AgentView:
    """An agent: another machine that runs scripts."""

    name: str
    host: str
    labels: Sequence[str]
    slots: int
    running: int
    """How many of its slots are taken."""
    state: AgentWord
    """Whether it takes jobs, only ends those it has, or is not heard."""


def list_jobs(
    query: JobQuery,
    below: int,
    rows: Sequence[JobRecord],
    live: Mapping[str, LiveJob],
    begun: Mapping[str, LiveJob],
) -> JobList:
    """Put the live jobs as they are now into what the history has.

    The history may be behind: a job that has just been started, or that has ended while the disk
    is full, is there with its former status, or not among the rows for that reason.

    Args:
        query: What is asked for.
        below: The `seq` that all jobs must be below.
        rows: What the history has, at most one more than is asked for, and to the first by which
            the arguments are more than `MAX_ARGS_SIZE`.
        live: The jobs that are live now, by their id.
        begun: Those of them that are not queued any more: few, so that they can be gone through.
    """
    follow = len(rows) > query.limit or sum(row.args_size for row in rows) > MAX_ARGS_SIZE
    # What is older than the last row may stand behind others in the history.
    oldest = rows[-1].seq if follow else 0
    found = {row.seq: live[row.job_id].snapshot() if row.job_id in live else row for row in rows}
    for job in begun.values():
        if oldest <= job.record.seq < below:
            found[job.record.seq] = job.snapshot()
    matching = [found[seq] for seq in sorted(found, reverse=True) if query.matches(found[seq])]
    jobs = _that_fit(matching[: query.limit])
    if not follow and len(matching) == len(jobs):
        return JobList(jobs, None)
    return JobList(jobs, (jobs or rows)[-1].job_id)


def _that_fit(jobs: Sequence[JobRecord]) -> list[JobRecord]:
    """The first of some jobs, as many as a page may have, and at least one."""
    sizes = itertools.accumulate(job.args_size for job in jobs)
    fit = sum(1 for _ in itertools.takewhile(lambda size: size <= MAX_ARGS_SIZE, sizes))
    return list(jobs[: max(1, fit)])
