"""The local runner over several agents, all of them on this machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Plot, Row, Settings, duration, quicker, short, slower, subject
from benchmarks.measuring import (
    MEGABYTE,
    LeanClient,
    cpu_seconds,
    runner_in,
    seconds_of,
    timed_in_turns,
)
from scripts.cluster_processes import AgentProcess, Broker
from scripts.runner_process import RunnerProcess

SLOTS = 2
AGENTS = (1, 2, 4, 8)
TABLE_AGENTS = 4
JOBS = 500
GROWTH_JOBS = 200
OUTPUT_BYTES = 900_000
OUTPUT_JOBS = 40
IDLE_SECONDS = 10.0
JOB_SECONDS = 120.0
SCRIPTS = {
    "quick": "echo done",
    "prints": f"yes 'one line of a log' | head -c {OUTPUT_BYTES}",
    "endless": "echo begun\nexec sleep 3600",
}


@contextlib.contextmanager
def cluster(folder: Path, agents: int) -> Iterator[tuple[RunnerProcess, Broker]]:
    """A front, a broker and agents that have reached it."""
    front = runner_in(folder / "front", SCRIPTS, maxConcurrent=SLOTS * agents)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(folder / "broker"))
        content = {
            "server": {"port": 0},
            "cluster": {"nats": [broker.url]},
            "scriptsFile": "scripts.json",
        }
        front.write("config.json", content)
        stack.enter_context(front)
        listed = front.folder / "scripts.json"
        processes = [
            AgentProcess(folder / f"agent-{number}", broker.url, listed, slots=SLOTS)
            for number in range(agents)
        ]
        for process in processes:
            stack.callback(process.__exit__)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(AgentProcess.start, processes))
        front.run("quick")
        yield front, broker


def rate_of(runner: RunnerProcess, script_id: str, jobs: int) -> float:
    """Async jobs per second, from the first submission to the last end."""

    def run() -> None:
        for job_id in [runner.submit(script_id) for _ in range(jobs)]:
            runner.ended(job_id, JOB_SECONDS)

    return jobs / seconds_of(run)


@subject(
    "Many machines",
    f"A front, a broker and agents with {SLOTS} slots each, all on this machine, beside a local "
    "runner with as many slots; a two-line `sh` script; jobs are counted from the first submission "
    "to the last end that is seen.",
)
def many_machines(settings: Settings) -> Iterator[Row | Plot]:
    rates = {}
    for agents in AGENTS:
        with cluster(settings.folder / f"cluster-{agents}", agents) as (front, _):
            rates[float(agents)] = rate_of(front, "quick", GROWTH_JOBS)
            if agents == TABLE_AGENTS:
                yield from _compared(settings, front)
    yield Plot(
        "agents",
        "Short jobs at once, by the number of agents on one machine",
        f"agents with {SLOTS} slots",
        "jobs/s",
        {"over the cluster": rates},
    )
    yield from _idle(settings)


def _compared(settings: Settings, front: RunnerProcess) -> Iterator[Row]:
    local = runner_in(settings.folder / "local", SCRIPTS, maxConcurrent=SLOTS * TABLE_AGENTS)
    with (
        local,
        LeanClient(front.url) as far,
        LeanClient(local.url) as near,
    ):
        seconds = timed_in_turns({"far": far.run, "near": near.run}, rounds=100)
        rate, local_rate = rate_of(front, "quick", JOBS), rate_of(local, "quick", JOBS)
    what = f"{TABLE_AGENTS} agents: a short sync job"
    yield slower(what, seconds["far"], "the same on a local runner", seconds["near"], most=3)
    what = f"{TABLE_AGENTS} agents: {JOBS} short async jobs"
    yield quicker(what, rate, "the same on a local runner", local_rate, least=0.6)
    megabytes = rate_of(front, "prints", OUTPUT_JOBS) * OUTPUT_BYTES / MEGABYTE
    what = f"{TABLE_AGENTS} agents: output of {OUTPUT_JOBS} jobs of 900 kB, at 40 MB/s or more"
    yield Row(what, f"{short(megabytes)} MB/s", "40 MB/s", megabytes / 40, least=1)
    job_id = front.submit("endless")
    front.printed(job_id, "begun")
    cancel = seconds_of(lambda: [front.cancel(job_id), front.ended(job_id)])
    what = f"{TABLE_AGENTS} agents: from a cancel to the end of the job"
    yield Row(what, duration(cancel), "", 1000 * cancel, "ms", most=100)


def _idle(settings: Settings) -> Iterator[Row]:
    agents = 100 if settings.full else 10
    with cluster(settings.folder / "idle", agents) as (front, broker):
        time.sleep(1)
        before = {pid: cpu_seconds(pid) for pid in (front.pid, broker.pid)}
        time.sleep(IDLE_SECONDS)
        shares = [100 * (cpu_seconds(pid) - before[pid]) / IDLE_SECONDS for pid in before]
    for name, share in zip(("front", "broker"), shares, strict=True):
        what = f"{agents} idle agents: what the {name} takes of a core"
        yield Row(what, f"{share:.1f} %", "", share, "%", most=3)
