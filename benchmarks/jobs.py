"""Short jobs of the local runner: one after another, of many clients, with a long history."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Plot, Row, Settings, duration, quicker, short, slower, subject
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
CLIENTS = 32
LENGTHS = (100, 1_000, 10_000, 100_000)
"""Jobs in a history."""

LOGS_WRITTEN = 5_000
"""The oldest so many jobs of a history have log files, which is more than are pushed out; with FULL
all have."""

MANY_JOBS = 10**9
"""A `maxJobs` that no history here reaches."""


def rate_of(work: Callable[[], object], jobs: int = SLICE_JOBS) -> float:
    """Jobs per second, one after another."""
    return jobs / seconds_of(lambda: [work() for _ in range(jobs)])


@subject(
    "Short jobs",
    "`POST /run` of a sync job, a two-line `sh` script, over a connection of Python's own "
    "`http.client`, which leaves most of the time to the runner, and in the second row by httpx; "
    f"slices of {SLICE_JOBS} jobs in turns with slices of the loop; medians.",
)
def short_jobs(settings: Settings) -> Iterator[Row]:
    with (
        runner_in(settings.folder / "runner", SCRIPT) as runner,
        contextlib.closing(LeanClient(runner)) as client,
    ):
        script = runner.folder / "quick.sh"
        rates = in_turns(
            {
                "runner": lambda: rate_of(client.run),
                "by httpx": lambda: rate_of(lambda: runner.run("quick")),
                "bare": lambda: rate_of(
                    lambda: subprocess.run([script], capture_output=True, check=True)
                ),
            },
            rounds=50 if settings.full else 15,
        )
    what = "local runner: short jobs one after another"
    loop = ("a loop of `subprocess.run` of the same script", rates["bare"])
    yield quicker(what, rates["runner"], *loop, least=0.5)
    yield quicker(f"{what}, sent by a warm `httpx.Client`", rates["by httpx"], *loop)


@subject(
    "Many clients",
    "`POST /run` of sync jobs, a two-line `sh` script, by a connection a thread, on the same cores "
    "as the runner and its scripts. Memory is the peak of the runner's process less what was "
    "resident after its first job.",
)
def many_clients(settings: Settings) -> Iterator[Row]:
    jobs = 10_000 if settings.full else 1_000
    local = threading.local()
    with runner_in(settings.folder / "runner", SCRIPT, maxConcurrent=CLIENTS) as runner:

        def run() -> None:
            if not hasattr(local, "client"):
                local.client = LeanClient(runner)
            local.client.run()

        script = runner.folder / "quick.sh"
        bare = _rate_of_many(
            1_000, lambda: subprocess.run([script], capture_output=True, check=True)
        )
        runner.run("quick")
        before, cpu_before = resident(runner.pid), cpu_seconds(runner.pid)
        rate = _rate_of_many(jobs, run)
        cpu = (cpu_seconds(runner.pid) - cpu_before) / jobs
        growth = (most_resident(runner.pid) - before) / MEGABYTE
    what = f"local runner: {jobs:,} jobs of {CLIENTS} clients, no error"
    threads = f"`subprocess.run` of the same script by {CLIENTS} threads"
    yield quicker(what, rate, threads, bare, least=0.5)
    measured = f"{duration(cpu)}; {short(rate / (os.cpu_count() or 1))} jobs/s a core"
    yield Row(
        f"{what}: CPU of a job in the runner's own process",
        measured,
        "",
        1000 * cpu,
        "ms",
        most=0.9,
    )
    yield Row(f"{what}: its memory above start", f"{short(growth)} MB", "", growth, "MB", most=50)


def _rate_of_many(jobs: int, work: Callable[[], object]) -> float:
    """Jobs per second of so many jobs by all clients together; the first error is raised."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = seconds_of(lambda: list(pool.map(lambda _: work(), range(jobs))))
    return jobs / seconds


@subject(
    "A long history",
    "Two local runners, one fresh, one whose history is copies of one job, written beforehand with "
    "log files for those that are pushed out. They take slices of sync jobs, a two-line `sh` "
    "script, in turns; medians.",
)
def history(settings: Settings) -> Iterator[Row | Plot]:
    rounds = 25 if settings.full else 9
    old = runner_in(settings.folder / "runner", SCRIPT, maxJobs=MANY_JOBS)
    with old:
        job_id = str(old.run("quick")["jobId"])
    rates: dict[int, dict[str, float]] = {}
    lists: dict[int, dict[str, float]] = {}
    for length in LENGTHS:
        _lengthen(old.folder, length, with_all_logs=settings.full)
        with _beside_a_fresh_one(old, settings.folder / f"fresh-{length}") as (client, fresh):
            rates[length] = _rates(client, fresh, rounds)
            lists[length] = timed_in_turns(
                {
                    "list": lambda: client.get("/jobs?limit=50"),
                    "job": lambda: client.get(f"/jobs/{job_id}"),
                },
                rounds=200,
            )
            megabytes = resident(old.pid) / MEGABYTE
    # What was just measured is in the history too, so that each new job pushes an old one out.
    old.configure(runner={"maxJobs": _lengthen(old.folder, 0)})
    with _beside_a_fresh_one(old, settings.folder / "fresh-steady") as (client, fresh):
        steady = _rates(client, fresh, rounds)
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
    yield slower(what, lists[most]["list"], "`GET /jobs/{id}`", lists[most]["job"], most=5)
    few = f"`GET /jobs` of 50 of {LENGTHS[0]:,} jobs"
    yield slower(what, lists[most]["list"], few, lists[LENGTHS[0]]["list"], most=1.2)
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
        contextlib.closing(LeanClient(old)) as old_client,
        contextlib.closing(LeanClient(fresh)) as fresh_client,
    ):
        yield old_client, fresh_client


def _rates(old: LeanClient, fresh: LeanClient, rounds: int) -> dict[str, float]:
    return in_turns(
        {"old": lambda: rate_of(old.run), "fresh": lambda: rate_of(fresh.run)}, rounds, warm_up=1
    )


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
    for number in numbers if with_all_logs else [n for n in numbers if n < LOGS_WRITTEN]:
        for stream, text in (("stdout", "done\n"), ("stderr", "")):
            (folder / "logs" / f"{stem}_{number}.{stream}.log").write_text(text)
    return int(count) + len(numbers)
