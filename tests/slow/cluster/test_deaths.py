"""What dies, and what happens: front, agent, keeper, broker."""

from __future__ import annotations

import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import psutil

from scripts.waiting import wait_until
from tests.slow.cluster.scripts import LINES, WORK, Traces, begun, traced
from tests.support.cluster import Cluster
from tests.support.processes import processes_of

LOST_SECONDS = 60.0
"""Long enough for lease, grace and margin, on a busy machine."""

LEASE = {"leaseSeconds": 5}
GRACE = {"killGraceSeconds": 1}
TWO = {"one": {"slots": 2}, "two": {"slots": 2}}


def a_cluster(folder: Path, **settings: object) -> Cluster:
    """A cluster of two agents with two slots each, and a short lease."""
    chosen = {"agents": TWO, "keys": LEASE, "runner": GRACE, **settings}
    return Cluster(folder, traced(folder), **chosen)  # type: ignore[arg-type]


def keeper_of(pid: int) -> psutil.Process:
    """The keeper of an agent."""
    (found,) = [
        child
        for child in psutil.Process(pid).children()
        if "local_runner.cluster.keeper" in child.cmdline()
    ]
    return found


def test_when_the_front_is_killed_scripts_go_on_and_nothing_is_lost(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        running = [begun(cluster, "works", str(LINES)) for _ in range(4)]
        queued = [cluster.front.submit("works", str(LINES)) for _ in range(4)]

        for _ in range(3):
            cluster.front.stop(signal.SIGKILL)
            cluster.front.start()

        for job_id in running + queued:
            assert cluster.front.ended(job_id)["status"] == "succeeded"
            assert cluster.front.log(job_id) == WORK
        traces = Traces(tmp_path)
        traces.assert_none_ran_twice()
        assert sorted(traces.ends) == sorted(running + queued)


def test_a_front_that_was_frozen_for_longer_than_the_lease_has_missed_nothing(
    tmp_path: Path,
) -> None:
    rules = {"works": {"timeoutSec": 60}, "stays": {"timeoutSec": 4}, "quick": {"timeoutSec": 5}}
    with a_cluster(tmp_path, rules=rules, agents={"one": {"slots": 4}}) as cluster:
        traces, front = Traces(tmp_path), psutil.Process(cluster.front.pid)
        short = begun(cluster, "works", "10")
        long = begun(cluster, "works", "150")
        limited = begun(cluster, "stays")
        # Some of these ask for their permit, or are given it, while it freezes.
        queued = [cluster.front.submit("quick") for _ in range(20)]

        front.suspend()
        # 150 lines take 15 s: longer than lease, grace and margin; each of them ends in its time.
        wait_until(lambda: {short, long} <= set(traces.ends), LOST_SECONDS)
        thawed = datetime.now(UTC).isoformat()
        front.resume()

        for job_id in (short, long, *queued):
            job = cluster.front.ended(job_id, LOST_SECONDS)
            assert (job["status"], job["code"]) == ("succeeded", 0), job["stderrPreview"]
        assert cluster.front.ended(limited)["status"] == "timed_out"
        # They ended when their scripts did, not when the front heard of it.
        for job_id in (short, limited):
            assert cluster.front.job(job_id)["endedAt"] < thawed
        assert cluster.front.log(short).endswith("line 10\n")
        assert cluster.front.log(long).endswith("line 150\n")
        assert cluster.front.run("quick")["status"] == "succeeded"
        traces.assert_none_ran_twice()


def test_what_ended_while_the_front_was_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        job_id = begun(cluster, "works", "10")
        cluster.front.stop(signal.SIGKILL)
        wait_until(lambda: Traces(tmp_path).ends)
        cluster.front.start()

        assert cluster.front.ended(job_id)["status"] == "succeeded"
        assert cluster.front.log(job_id).endswith("line 10\n")


def test_when_an_agent_is_killed_its_jobs_fail_and_others_run_elsewhere(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        jobs = {
            job_id: cluster.worker(job_id) for job_id in (begun(cluster, "stays") for _ in "1234")
        }
        queued = [cluster.front.submit("quick") for _ in range(3)]

        cluster.agents["one"].stop(signal.SIGKILL)

        for job_id, worker in jobs.items():
            if worker == "one":
                job = cluster.front.ended(job_id)
                assert (job["status"], job["code"]) == ("failed", -1)
                # By the keeper, not by the lease: within seconds, and dead.
                assert "the agent was killed" in job["stderrPreview"]
                assert processes_of(job_id) == []
            else:
                assert cluster.front.job(job_id)["status"] == "running"
                cluster.front.cancel(job_id)
        for job_id in queued:
            assert cluster.front.ended(job_id)["status"] == "succeeded"
            assert cluster.worker(job_id) == "two"
        Traces(tmp_path).assert_none_ran_twice()


def test_a_deaf_script_of_a_killed_agent_is_killed_before_its_job_fails(tmp_path: Path) -> None:
    with a_cluster(tmp_path, agents={"one": {}}) as cluster:
        job_id = begun(cluster, "deaf")

        cluster.agents["one"].stop(signal.SIGKILL)

        assert cluster.front.ended(job_id)["code"] == -1
        assert processes_of(job_id) == []


def test_an_agent_started_again_is_another_one_and_takes_jobs(tmp_path: Path) -> None:
    with a_cluster(tmp_path, agents={"one": {}}) as cluster:
        job_id = begun(cluster, "stays")

        cluster.agents["one"].stop(signal.SIGKILL)
        cluster.agents["one"].start()

        assert cluster.front.ended(job_id)["code"] == -1
        assert cluster.front.run("quick")["status"] == "succeeded"


def test_what_an_agent_left_that_was_killed_with_its_keeper_is_dead_and_told_when_it_starts_again(
    tmp_path: Path,
) -> None:
    keys = {"leaseSeconds": 600}
    with a_cluster(tmp_path, agents={"one": {}}, keys=keys) as cluster:
        agent = cluster.agents["one"]
        job_id = begun(cluster, "deaf")

        # As by systemd, which kills all of a service that has died.
        keeper = keeper_of(agent.pid)
        agent.send_signal(signal.SIGSTOP)
        keeper.kill()
        agent.stop(signal.SIGKILL)
        agent.start()

        job = cluster.front.ended(job_id, LOST_SECONDS)
        assert (job["status"], job["code"]) == ("failed", -1)
        assert job["stderrPreview"] == "one was started again\n"
        assert processes_of(job_id) == []
        assert cluster.front.run("quick")["status"] == "succeeded"


def test_a_killed_keeper_is_replaced_and_its_successor_keeps(tmp_path: Path) -> None:
    with a_cluster(tmp_path, agents={"one": {}}) as cluster:
        agent = cluster.agents["one"]
        job_id = begun(cluster, "stays")
        first = keeper_of(agent.pid)
        first.kill()
        successor = wait_until(
            lambda: next(
                (
                    c
                    for c in psutil.Process(agent.pid).children()
                    if c.pid != first.pid and "local_runner.cluster.keeper" in c.cmdline()
                ),
                None,
            )
        )
        assert cluster.front.job(job_id)["status"] == "running"

        agent.stop(signal.SIGKILL)

        assert cluster.front.ended(job_id)["code"] == -1
        assert processes_of(job_id) == []
        successor.wait(LOST_SECONDS)


def test_the_scripts_of_a_frozen_agent_are_dead_when_their_jobs_fail(tmp_path: Path) -> None:
    with a_cluster(tmp_path, agents={"one": {}}) as cluster:
        agent = cluster.agents["one"]
        job_id = begun(cluster, "deaf")

        psutil.Process(agent.pid).suspend()
        job = cluster.front.ended(job_id, LOST_SECONDS)

        assert (job["status"], job["code"]) == ("failed", -1)
        assert processes_of(job_id) == []
        psutil.Process(agent.pid).resume()
        assert cluster.front.run("quick")["status"] == "succeeded"
        Traces(tmp_path).assert_none_ran_twice()


def test_the_scripts_of_a_machine_that_slept_for_too_long_are_ended_when_it_wakes(
    tmp_path: Path,
) -> None:
    with a_cluster(tmp_path, agents={"one": {}}) as cluster:
        job_id = begun(cluster, "deaf")
        agent = psutil.Process(cluster.agents["one"].pid)
        machine = [agent, *agent.children(recursive=True)]

        for process in machine:
            process.suspend()
        assert cluster.front.ended(job_id, LOST_SECONDS)["code"] == -1
        for process in machine:
            process.resume()

        wait_until(lambda: not processes_of(job_id), LOST_SECONDS)
        assert cluster.front.ended(cluster.front.submit("quick"))["status"] == "succeeded"
        Traces(tmp_path).assert_none_ran_twice()


def test_a_broker_that_is_back_within_the_lease_costs_nothing(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        running = [begun(cluster, "works", str(LINES)) for _ in range(4)]
        queued = [cluster.front.submit("works", str(LINES)) for _ in range(4)]

        cluster.broker.stop(signal.SIGKILL)
        accepted = cluster.front.submit("quick")
        cluster.broker.start()

        for job_id in running + queued:
            assert cluster.front.ended(job_id, LOST_SECONDS)["status"] == "succeeded"
            assert cluster.front.log(job_id) == WORK
        assert cluster.front.ended(accepted)["status"] == "succeeded"
        Traces(tmp_path).assert_none_ran_twice()


def test_a_broker_that_has_lost_its_data_loses_no_job(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        running = [begun(cluster, "works", str(LINES)) for _ in range(4)]
        queued = [cluster.front.submit("quick") for _ in range(4)]

        cluster.broker.stop(signal.SIGKILL)
        for path in cluster.broker.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        cluster.broker.start()

        for job_id in running + queued:
            assert cluster.front.ended(job_id, LOST_SECONDS)["status"] == "succeeded"
        Traces(tmp_path).assert_none_ran_twice()


def test_a_broker_that_is_away_for_longer_ends_scripts_but_keeps_the_queue(tmp_path: Path) -> None:
    with a_cluster(tmp_path, agents={"one": {"slots": 2}}) as cluster:
        running = [begun(cluster, "stays"), begun(cluster, "deaf")]
        queued = cluster.front.submit("quick")

        cluster.broker.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(processes_of, running)), LOST_SECONDS)
        cluster.broker.start()

        for job_id in running:
            job = cluster.front.ended(job_id, LOST_SECONDS)
            assert (job["status"], job["code"]) == ("failed", -1)
            assert "one ended the script: for 5 s the broker was away" in job["stderrPreview"]
        assert cluster.front.ended(queued, LOST_SECONDS)["status"] == "succeeded"
        Traces(tmp_path).assert_none_ran_twice()


def test_both_front_and_broker_killed_at_once_lose_nothing(tmp_path: Path) -> None:
    with a_cluster(tmp_path) as cluster:
        running = [begun(cluster, "works", str(LINES)) for _ in range(4)]

        cluster.front.stop(signal.SIGKILL)
        cluster.broker.stop(signal.SIGKILL)
        cluster.broker.start()
        cluster.front.start()

        for job_id in running:
            assert cluster.front.ended(job_id, LOST_SECONDS)["status"] == "succeeded"
            assert cluster.front.log(job_id) == WORK
        Traces(tmp_path).assert_none_ran_twice()


def test_a_history_that_is_lost_ends_what_nobody_knows_of(tmp_path: Path) -> None:
    with a_cluster(tmp_path, agents={"one": {}}) as cluster:
        job_id = begun(cluster, "stays")

        cluster.front.stop(signal.SIGKILL)
        for path in cluster.front.folder.glob("jobs.sqlite3*"):
            path.unlink()
        cluster.front.start()

        wait_until(lambda: not processes_of(job_id), LOST_SECONDS)
        assert cluster.front.run("quick")["status"] == "succeeded"
