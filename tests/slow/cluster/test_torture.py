"""Random faults under load, and what must be true afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.slow.cluster.scripts import Traces, traced
from tests.support.cluster import Cluster
from tests.support.processes import processes_of

SECONDS = float(os.environ.get("CLUSTER_TORTURE_SECONDS", "45"))
"""`make cluster-torture` goes on for longer."""

SEED = os.environ.get("CLUSTER_TORTURE_SEED", str(time.time_ns()))
LONG_SECONDS = 180.0


class Faults:
    """What may happen to a cluster."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        """Begin with a cluster that runs."""
        self._cluster = cluster
        self._chance = chance
        self.done: Counter[str] = Counter()

    def one(self) -> None:
        """Have one happen."""
        kinds: list[Callable[[], None]] = [
            self.kill_front,
            self.kill_agent,
            self.kill_agent,
            self.freeze_agent,
            self.kill_keeper,
            self.kill_broker,
        ]
        kind = self._chance.choice(kinds)
        kind()
        self.done[kind.__name__] += 1

    def kill_front(self) -> None:
        """Kill the front, and start it again."""
        self._cluster.front.stop(signal.SIGKILL)
        time.sleep(self._chance.uniform(0, 2))
        self._cluster.front.start()

    def kill_agent(self) -> None:
        """Kill an agent, and start it again."""
        agent = self._chance.choice(list(self._cluster.agents.values()))
        agent.stop(signal.SIGKILL)
        agent.start()

    def freeze_agent(self) -> None:
        """Freeze an agent, for less than its lease or for more."""
        agent = self._chance.choice(list(self._cluster.agents.values()))
        process = psutil.Process(agent.pid)
        process.suspend()
        time.sleep(self._chance.choice([0.5, 2, 7]))
        process.resume()

    def kill_keeper(self) -> None:
        """Kill the keeper of an agent."""
        agent = self._chance.choice(list(self._cluster.agents.values()))
        for child in psutil.Process(agent.pid).children():
            with contextlib.suppress(psutil.Error):
                if "local_runner.cluster.keeper" in child.cmdline():
                    child.kill()

    def kill_broker(self) -> None:
        """Kill the broker, and start it again within the lease, or after it."""
        self._cluster.broker.stop(signal.SIGKILL)
        time.sleep(self._chance.choice([0, 0, 1, 2, 7]))
        self._cluster.broker.start()


def test_whatever_happens_no_job_runs_twice_and_each_one_ends(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    agents = {name: {"slots": 2} for name in ("one", "two", "three")}
    jobs: list[str] = []
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents=agents,
        keys={"leaseSeconds": 5},
        runner={"killGraceSeconds": 1},
    ) as cluster:
        faults = Faults(cluster, chance)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            for _ in range(chance.randint(1, 8)):
                with contextlib.suppress(httpx.HTTPError):
                    script = chance.choice([("quick",), ("works", "10"), ("works", "30")])
                    jobs.append(cluster.front.submit(*script))
            time.sleep(chance.uniform(0, 2))
            faults.one()

        ended = {job_id: cluster.front.ended(job_id, LONG_SECONDS) for job_id in jobs}

        traces = Traces(tmp_path)
        traces.assert_none_ran_twice()
        statuses = Counter(job["status"] for job in ended.values())
        print(f"{len(jobs)} jobs, {dict(statuses)}, {dict(faults.done)}")
        assert set(statuses) <= {"succeeded", "failed"}
        for job_id, job in ended.items():
            assert processes_of(job_id) == []
            if job["status"] == "succeeded":
                assert job_id in traces.ends
                assert job["stdoutPreview"].endswith(("done\n", "line 10\n", "line 30\n"))
            else:
                assert job["code"] == -1, job
