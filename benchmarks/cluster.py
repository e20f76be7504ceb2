"""The local runner over several agents, all of them on this machine."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import crowd
from benchmarks.figures import Plot, Row, Settings, duration, quicker, short, slower, subject
from benchmarks.measuring import (
    MEGABYTE,
    LeanClient,
    cpu_seconds,
    in_turns,
    resident,
    runner_in,
    seconds_of,
    timed_in_turns,
)
from scripts.blocks import ROOT
from scripts.cluster_processes import AgentProcess, Broker, free_ports
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until

SLOTS = 2
AGENTS = (1, 2, 4, 8)
TABLE_AGENTS = 4
JOBS = 500
GROWTH_JOBS = 200
WAIT_SECONDS = 0.2
WAITS_PER_AGENT = 16
OUTPUT_BYTES = 900_000
OUTPUT_JOBS = 60
CALLERS = 4
"""One alone would be measured by how long it waits for a response."""

CANCELS = 10
MANY_AGENTS = 100
CROWDS = (100, 300, 1_000)
CROWD_JOBS = 300
SETTLE_SECONDS = 1.5
SPENT_SECONDS = 6.0
JOB_SECONDS = 120.0
SCRIPTS = {
    "quick": "echo done",
    "waits": f"exec sleep {WAIT_SECONDS}",
    "prints": f"yes 'one line of a log' | head -c {OUTPUT_BYTES}",
    "endless": "echo begun\nexec sleep 3600",
}


class Cluster(contextlib.ExitStack):
    """A front and a broker, and agents as they are added; leaving it ends all of them."""

    def __init__(self, folder: Path) -> None:
        """Write the configurations; entering it starts front and broker."""
        super().__init__()
        self._folder = folder
        self._monitor = free_ports(1)[0]
        self.broker = Broker(folder / "broker", f'http: "127.0.0.1:{self._monitor}"\n')
        self.front = runner_in(folder / "front", SCRIPTS)
        content = {
            "server": {"port": 0},
            "cluster": {"nats": [self.broker.url]},
            "scriptsFile": "scripts.json",
        }
        self.front.write("config.json", content)
        self._agents: list[AgentProcess] = []

    def __enter__(self) -> Cluster:
        """Start front and broker."""
        super().__enter__()
        self.enter_context(self.broker)
        self.enter_context(self.front)
        return self

    def grow(self, agents: int) -> None:
        """Start agents until there are so many, and wait until the front sees them."""
        listed = self.front.folder / "scripts.json"
        new = [
            AgentProcess(self._folder / f"agent-{number}", self.broker.url, listed, slots=SLOTS)
            for number in range(len(self._agents), agents)
        ]
        self._agents += new
        for agent in new:
            self.callback(agent.__exit__)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(AgentProcess.start, new))
        self._sees(agents)

    def crowd(self, agents: int) -> None:
        """Add agents that are all in one process; see `benchmarks.crowd`."""
        command = [sys.executable, "-m", crowd.__name__, self.broker.url, str(agents), str(SLOTS)]
        process = self.enter_context(subprocess.Popen(command, cwd=ROOT))
        self.callback(process.kill)
        self._sees(agents)

    def _sees(self, agents: int) -> None:
        def seen() -> bool:
            return [event["event"] for event in self.front.events].count("agent") >= agents

        wait_until(seen, JOB_SECONDS)

    def costs(self) -> Costs:
        """What front and broker have taken so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/varz") as response:
            said = json.load(response)
        return Costs(
            time.perf_counter(),
            cpu_seconds(self.front.pid),
            cpu_seconds(self.broker.pid),
            said["in_msgs"] + said["out_msgs"],
            said["in_bytes"] + said["out_bytes"],
        )


class Costs(NamedTuple):
    """What front and broker have taken."""

    seconds: float
    front: float
    """Seconds of a core."""
    broker: float
    messages: float
    """In and out of the broker."""
    bytes: float

    def since(self, before: Costs) -> Costs:
        """What they have taken since then, a second."""
        seconds = self.seconds - before.seconds
        return Costs(
            seconds,
            *((now - then) / seconds for now, then in zip(self[1:], before[1:], strict=True)),
        )


def rate_of(runner: RunnerProcess, script_id: str, jobs: int) -> float:
    """Async jobs per second of some callers, from the first submission to the last end."""

    def run() -> None:
        with ThreadPoolExecutor(CALLERS) as pool:
            job_ids = list(pool.map(lambda _: runner.submit(script_id), range(jobs)))
            list(pool.map(lambda job_id: runner.ended(job_id, JOB_SECONDS), job_ids))

    return jobs / seconds_of(run)


@subject(
    "Many machines",
    f"A front, a broker and agents with {SLOTS} slots each, all on this machine, beside a local "
    f"runner with as many slots; a two-line `sh` script; {CALLERS} callers, whose jobs are counted "
    "from the first submission to the last end that is seen. Scripts that wait for "
    f"{WAIT_SECONDS} s leave the processors to the cluster, as those on other machines do.",
)
def many_machines(settings: Settings) -> Iterator[Row | Plot]:
    short_jobs, waits = {}, {}
    with Cluster(settings.folder / "cluster") as cluster:
        for agents in AGENTS:
            cluster.grow(agents)
            short_jobs[float(agents)] = rate_of(cluster.front, "quick", GROWTH_JOBS)
            waits[float(agents)] = rate_of(cluster.front, "waits", WAITS_PER_AGENT * agents)
            if agents == TABLE_AGENTS:
                yield from _compared(settings, cluster)
    yield Plot(
        "agents",
        "Jobs over the cluster, by the number of agents on one machine",
        f"agents with {SLOTS} slots",
        "jobs/s",
        {
            "short jobs, which share the processors": short_jobs,
            f"jobs that wait for {WAIT_SECONDS} s": waits,
            "the same, if nothing else took time": {
                float(agents): SLOTS * agents / WAIT_SECONDS for agents in AGENTS
            },
        },
    )


def _compared(settings: Settings, cluster: Cluster) -> Iterator[Row]:
    front = cluster.front
    local = runner_in(settings.folder / "local", SCRIPTS, maxConcurrent=SLOTS * TABLE_AGENTS)
    with (
        local,
        LeanClient(front.url) as far,
        LeanClient(local.url) as near,
    ):
        seconds = timed_in_turns({"far": far.run, "near": near.run}, rounds=100)
        rates = in_turns(
            {
                "far": lambda: rate_of(front, "quick", JOBS // 2),
                "near": lambda: rate_of(local, "quick", JOBS // 2),
            },
            rounds=2,
            warm_up=0,
        )
        local_output = _output_of(local)
    what = f"{TABLE_AGENTS} agents: a short sync job"
    yield slower(what, seconds["far"], "the same on a local runner", seconds["near"], most=3)
    what = f"{TABLE_AGENTS} agents: {JOBS} short async jobs"
    yield quicker(what, rates["far"], "the same on a local runner", rates["near"], least=0.6)
    before = cluster.costs()
    megabytes = _output_of(front)
    spent = cluster.costs().since(before)
    each = f"{1000 * spent.front / megabytes:.1f} and {1000 * spent.broker / megabytes:.1f} ms"
    what = f"{TABLE_AGENTS} agents: output of {OUTPUT_JOBS} jobs of 900 kB, at 40 MB/s or more"
    compared = f"40 MB/s (a local runner: {short(local_output)} MB/s)"
    measured = f"{short(megabytes)} MB/s; front and broker take {each} of a core for a MB"
    yield Row(what, measured, compared, megabytes / 40, least=1)
    cancel = median(_cancel(front) for _ in range(CANCELS))
    what = f"{TABLE_AGENTS} agents: from a cancel to the end of the job"
    yield Row(what, duration(cancel), "", 1000 * cancel, "ms", most=100)


def _output_of(runner: RunnerProcess) -> float:
    """Megabytes a second of jobs that print a lot."""
    return rate_of(runner, "prints", OUTPUT_JOBS) * OUTPUT_BYTES / MEGABYTE


def _cancel(front: RunnerProcess) -> float:
    """Seconds from a cancel to the end of the job."""
    job_id = front.submit("endless")
    front.printed(job_id, "begun")
    return seconds_of(lambda: [front.cancel(job_id), front.ended(job_id)])


@subject(
    "Many agents",
    f"Agents with {SLOTS} slots that say each second that they are there, all in one process that "
    "runs no scripts (`benchmarks/crowd.py`); to front and broker they are like any. Shares are of "
    "one core; messages and bytes are those that go in and out of the broker. With FULL also as "
    "many real agents.",
)
def many_agents(settings: Settings) -> Iterator[Row | Plot]:
    idle, busy, jobs = {}, {}, {}
    for agents in CROWDS if settings.full else (MANY_AGENTS,):
        with Cluster(settings.folder / f"crowd-{agents}") as cluster:
            cluster.crowd(agents)
            idle[float(agents)] = _spent(cluster)
            if agents == MANY_AGENTS:
                yield from _idle_rows(f"{agents} idle agents", cluster, idle[float(agents)])
            before = cluster.costs()
            rate = rate_of(cluster.front, "quick", CROWD_JOBS)
            jobs[float(agents)] = cluster.costs().since(before), rate
            if not settings.full:
                continue
            for _ in range(SLOTS * agents):
                cluster.front.submit("endless")
            busy[float(agents)] = _spent(cluster)
    yield _job_row(*jobs[MANY_AGENTS])
    if settings.full:
        share = 100 * busy[MANY_AGENTS].front
        what = f"{MANY_AGENTS} agents with {SLOTS * MANY_AGENTS} running jobs: what the front takes"
        yield Row(f"{what} of a core", f"{share:.1f} %", "", share, "%", most=3)
        with Cluster(settings.folder / "real") as cluster:
            cluster.grow(MANY_AGENTS)
            yield from _idle_rows(f"{MANY_AGENTS} idle real agents", cluster, _spent(cluster))
        yield _growth(idle, busy)
        yield Plot(
            "crowd-jobs",
            "What a short job takes of the front, by the number of agents",
            "agents",
            "milliseconds of a core",
            {
                name: {n: 1000 * getattr(spent, name) / rate for n, (spent, rate) in jobs.items()}
                for name in ("front", "broker")
            },
        )


def _spent(cluster: Cluster) -> Costs:
    """What front and broker take a second while nothing happens."""
    time.sleep(SETTLE_SECONDS)
    before = cluster.costs()
    time.sleep(SPENT_SECONDS)
    return cluster.costs().since(before)


def _idle_rows(what: str, cluster: Cluster, spent: Costs) -> Iterator[Row]:
    through = f"{short(spent.messages)} messages/s, {short(spent.bytes / 1000)} kB/s"
    for name, pid, share in (
        ("front", cluster.front.pid, 100 * spent.front),
        ("broker", cluster.broker.pid, 100 * spent.broker),
    ):
        memory = f"; {resident(pid) / MEGABYTE:.0f} MB of memory"
        measured = f"{share:.1f} %{memory}" + (f"; {through}" if name == "broker" else "")
        yield Row(f"{what}: what the {name} takes of a core", measured, "", share, "%", most=3)


def _job_row(spent: Costs, rate: float) -> Row:
    each = 1000 * spent.front / rate
    measured = (
        f"{each:.1f} ms of a core (broker: {1000 * spent.broker / rate:.1f} ms); "
        f"{spent.messages / rate:.0f} messages, {spent.bytes / rate / 1000:.1f} kB"
    )
    what = f"{MANY_AGENTS} agents: what a short job takes of the front, its script not counted"
    return Row(what, measured, "", each, "ms")


def _growth(idle: dict[float, Costs], busy: dict[float, Costs]) -> Plot:
    curves = {
        f"{name}, {state}": {agents: 100 * getattr(spent, name) for agents, spent in found.items()}
        for state, found in (("idle", idle), (f"{SLOTS} running jobs each", busy))
        for name in ("front", "broker")
    }
    return Plot(
        "crowd", "Agents that are there", "agents", "% of a core", curves, is_logarithmic=True
    )
