"""Short jobs: one after another, of many clients, with a long history."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.figures import Plot, Row, Settings, quicker, short, slower, subject
from benchmarks.measuring import (
    MEGABYTE,
    LeanClient,
    cpu_seconds,
    in_turns,
    most_resident,
    resident,
    runner_in,
    seconds_of,
    timed_in_turns,
)
from scripts.runner_process import RunnerProcess

SCRIPT = {"quick": "echo done"}
SLICE_JOBS = 40
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
TABLE_CLIENTS = 32
LENGTHS = (100, 1_000, 10_000, 100_000)
"""Jobs in a history."""

LOGS_WRITTEN = 5_000
"""The oldest so many jobs of a history have log files, which is more than are pushed out; with FULL
all have."""

MANY_JOBS = 10**9
"""A `maxJobs` that no history here reaches."""


def rate_of(works: Sequence[Callable[[], object]], jobs: int = SLICE_JOBS) -> float:
    """Jobs per second of so many jobs by workers, each of which does one after another."""

    def share(work: Callable[[], object]) -> None:
        for _ in range(jobs // len(works)):
            work()

    with ThreadPoolExecutor(len(works)) as pool:
        return jobs // len(works) * len(works) / seconds_of(lambda: list(pool.map(share, works)))


@contextlib.contextmanager
def lean_clients(
    count: int, url: str, script_id: str = "quick"
) -> Iterator[list[Callable[[], object]]]:
    """What runs a job over a connection of its own, so many times."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(LeanClient(url, script_id)).run for _ in range(count)]


def bare(runner: RunnerProcess) -> Callable[[], object]:
    """What starts the script of a runner without it."""
    script = runner.folder / "quick.sh"
    return lambda: subprocess.run([script], capture_output=True, check=True)


@subject(
    "Short jobs",
    "`POST /run` of a sync job, a two-line `sh` script, over a bare socket, which leaves most of "
    "the time to the runner, and in the second row by httpx; "
    f"slices of {SLICE_JOBS} jobs in turns with slices of the loop; medians.",
)
def short_jobs(settings: Settings) -> Iterator[Row]:
    with (
        runner_in(settings.folder / "runner", SCRIPT) as runner,
        LeanClient(runner.url) as client,
    ):
        works = {
            "runner": client.run,
            "by httpx": lambda: runner.run("quick"),
            "bare": bare(runner),
        }
        rates = in_turns(
            {name: partial(rate_of, [work]) for name, work in works.items()},
            rounds=50 if settings.full else 15,
        )
    what = "local runner: short jobs one after another"
    loop = ("a loop of `subprocess.run` of the same script", rates["bare"])
    yield quicker(what, rates["runner"], *loop, least=0.5)
    yield quicker(f"{what}, sent by a warm `httpx.Client`", rates["by httpx"], *loop)


@subject(
    "Many clients",
    "`POST /run` of sync jobs, a two-line `sh` script, by a connection a thread, on the same cores "
    "as the runner and its scripts, in turns with as many threads that start the script; medians. "
    "Memory is the peak of the runner's process less what was resident after its first jobs.",
)
def many_clients(settings: Settings) -> Iterator[Row | Plot]:
    jobs, rounds = (1_024, 5) if settings.full else (128, 4)
    rates: dict[int, dict[str, float]] = {}
    cpu: dict[int, float] = {}
    with runner_in(settings.folder / "runner", SCRIPT, maxConcurrent=CLIENTS[-1]) as runner:
        runner.run("quick")
        before = resident(runner.pid)
        for count in CLIENTS:
            with lean_clients(count, runner.url) as runs:
                cpu_before = cpu_seconds(runner.pid)
                rates[count] = in_turns(
                    {
                        "runner": partial(rate_of, runs, jobs),
                        "bare": partial(rate_of, [bare(runner)] * count, jobs),
                    },
                    rounds,
                    warm_up=0,
                )
                cpu[count] = (cpu_seconds(runner.pid) - cpu_before) / jobs / rounds
        growth = (most_resident(runner.pid) - before) / MEGABYTE
    found, milliseconds = rates[TABLE_CLIENTS], 1000 * cpu[TABLE_CLIENTS]
    what = f"local runner: {jobs * rounds:,} jobs of {TABLE_CLIENTS} clients, no error"
    threads = f"`subprocess.run` of the same script by {TABLE_CLIENTS} threads"
    yield quicker(what, found["runner"], threads, found["bare"], least=0.5)
    what += ": CPU of a job in the runner's own process"
    yield Row(what, f"{short(milliseconds)} ms", "", milliseconds, "ms", most=0.9)
    most = f"local runner: memory above start after the jobs of 1 to {CLIENTS[-1]} clients"
    yield Row(most, f"{short(growth)} MB", "", growth, "MB", most=50)
    yield Plot(
        "clients",
        "Short jobs, by the number of clients at once",
        "clients",
        "jobs/s",
        {
            "local runner": {count: one["runner"] for count, one in rates.items()},
            "bare processes by as many threads": {c: one["bare"] for c, one in rates.items()},
        },
    )


@subject(
    "A long history",
    "Two local runners, one fresh, one whose history is copies of one job, written beforehand with "
    "log files for those that are pushed out. They take slices of sync jobs, a two-line `sh` "
    "script, in turns; medians.",
)
def history(settings: Settings) -> Iterator[Row | Plot]:
    rounds = 25 if settings.full else 7
    old = runner_in(settings.folder / "runner", SCRIPT, maxJobs=MANY_JOBS)
    with old:
        job_id = str(old.run("quick")["jobId"])
    rates: dict[int, dict[str, float]] = {}
    for length in LENGTHS:
        _lengthen(old.folder, length, with_all_logs=settings.full)
        with _beside_a_fresh_one(old, settings.folder / f"fresh-{length}") as (client, fresh):
            rates[length] = _rates(client, fresh, rounds)
            lists = timed_in_turns(
                {
                    "list": lambda: client.get("/jobs?limit=50"),
                    "fresh": lambda: fresh.get("/jobs?limit=50"),
                    "job": lambda: client.get(f"/jobs/{job_id}"),
                },
                rounds=200,
            )
            megabytes = resident(old.pid) / MEGABYTE
    # What was just measured is in the history too, so that each new job pushes an old one out.
    old.configure(runner={"maxJobs": _lengthen(old.folder, 0)})
    with _beside_a_fresh_one(old, settings.folder / "fresh-steady") as (client, fresh):
        steady = _rates(client, fresh, 2 * rounds)
    most = LENGTHS[-1]
    for condition, found in (
        (f"after {most:,} jobs of history", rates[most]),
        (f"when each pushes the oldest of {most:,} out", steady),
    ):
        bare = ("a runner without a history", found["fresh"])
        yield quicker(f"local runner: short jobs {condition}", found["old"], *bare, least=0.9)
    what = f"local runner: memory with {most:,} jobs of history"
    yield Row(what, f"{short(megabytes)} MB", "", megabytes, "MB", most=120)
    what = f"`GET /jobs` of 50 of {most:,} jobs"
    yield slower(what, lists["list"], "`GET /jobs/{id}`", lists["job"], most=5)
    # The fresh runner has those that it has just run.
    yield slower(what, lists["list"], "of a few hundred jobs", lists["fresh"], most=1.2)
    yield Plot(
        "history",
        "Short jobs one after another, by the length of the history",
        "jobs in the history",
        "jobs/s",
        {
            "with the history": {length: found["old"] for length, found in rates.items()},
            "fresh, at the same time": {length: found["fresh"] for length, found in rates.items()},
        },
    )


@contextlib.contextmanager
def _beside_a_fresh_one(
    old: RunnerProcess, folder: Path
) -> Iterator[tuple[LeanClient, LeanClient]]:
    with (
        old,
        runner_in(folder, SCRIPT) as fresh,
        LeanClient(old.url) as old_client,
        LeanClient(fresh.url) as fresh_client,
    ):
        yield old_client, fresh_client


def _rates(old: LeanClient, fresh: LeanClient, rounds: int) -> dict[str, float]:
    works = {"old": partial(rate_of, [old.run]), "fresh": partial(rate_of, [fresh.run])}
    return in_turns(works, rounds, warm_up=1)


def _lengthen(folder: Path, length: int, *, with_all_logs: bool = False) -> int:
    """Copy the last job of a history until it has so many; returns how many it has."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite3")) as file, file:
        count, last = file.execute("SELECT count(*), max(seq) FROM jobs").fetchone()
        row = file.execute("SELECT * FROM jobs WHERE seq = ?", [last])
        names = [name for name, *_ in row.description]
        job = dict(zip(names, row.fetchone(), strict=True))
        stem = str(job["job_id"]).rpartition("_")[0]
        numbers = range(last + 1, last + 1 + max(0, length - count))
        copies = ({**job, "seq": n, "end_seq": n, "job_id": f"{stem}_{n}"} for n in numbers)
        file.executemany(
            f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join(map(':{}'.format, names))})",
            copies,
        )
    # None for stderr, as the runner makes none for an empty log.
    for number in numbers if with_all_logs else [n for n in numbers if n < LOGS_WRITTEN]:
        (folder / "logs" / f"{stem}_{number}.stdout.log").write_text("done\n")
    return int(count) + len(numbers)


def rates_of_any(url: str, script_id: str) -> Iterator[str]:
    """Lines about short jobs of a script-runner that runs already, whichever it is.

    Args:
        url: Where it listens.
        script_id: A script of it that ends soon and well.
    """
    with LeanClient(url, script_id) as client:
        for first in range(1, 5_000, 500):
            rate = rate_of([client.run], 500)
            yield f"jobs {first:,} to {first + 499:,}, one after another: {short(rate)} jobs/s"
    with lean_clients(TABLE_CLIENTS, url, script_id) as runs:
        rate = rate_of(runs, 320)
    yield f"then 320 jobs of {TABLE_CLIENTS} clients: {short(rate)} jobs/s"
