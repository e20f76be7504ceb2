"""Operating a cluster: stopping, draining, credentials, a broker that is away, many runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts.cluster_processes import AgentProcess, Broker
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.slow.cluster.scripts import LINES, WORK, Traces, begun, traced
from tests.support.cluster import Cluster
from tests.support.processes import AS_FIRST_PROCESS, needs_namespace, processes_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "cluster"
LONG_SECONDS = 120.0


def test_a_stopped_front_leaves_scripts_running_and_takes_them_up(tmp_path: Path) -> None:
    with Cluster(tmp_path, traced(tmp_path)) as cluster:
        job_id = begun(cluster, "works", str(LINES))

        assert cluster.front.stop() == 0
        cluster.front.start()

        assert cluster.front.ended(job_id)["status"] == "succeeded"
        assert cluster.front.log(job_id) == WORK
        Traces(tmp_path).assert_none_ran_twice()


def test_with_end_scripts_a_stopped_front_ends_them(tmp_path: Path) -> None:
    with Cluster(tmp_path, traced(tmp_path), options=["--end-scripts"]) as cluster:
        job_id = begun(cluster, "stays")

        assert cluster.front.stop() == 0

        assert processes_of(job_id) == []
        cluster.front.start()
        assert cluster.front.job(job_id)["status"] == "canceled"


def test_a_drained_agent_takes_no_more_and_lets_its_scripts_end(tmp_path: Path) -> None:
    agents = {"one": {"slots": 2}}
    with Cluster(tmp_path, traced(tmp_path), agents=agents) as cluster:
        agent = cluster.agents["one"]
        job_id = begun(cluster, "works", str(LINES))

        agent.send_signal(signal.SIGTERM)
        wait_until(lambda: any(event["event"] == "stopping" for event in agent.events))
        waiting = cluster.front.submit("quick")

        assert agent.wait() == 0
        assert cluster.front.ended(job_id)["status"] == "succeeded"
        assert cluster.front.job(waiting)["status"] == "queued"
        cluster.add_agent("two").start()
        assert cluster.front.ended(waiting)["status"] == "succeeded"


def test_a_second_signal_ends_the_scripts_of_a_drained_agent(tmp_path: Path) -> None:
    with Cluster(tmp_path, traced(tmp_path)) as cluster:
        agent = cluster.agents["one"]
        job_id = begun(cluster, "stays")

        agent.send_signal(signal.SIGTERM)
        wait_until(lambda: any(event["event"] == "stopping" for event in agent.events))
        assert agent.stop() == 0

        assert cluster.front.ended(job_id)["status"] == "canceled"


def test_the_example_keeps_each_to_its_own_subjects(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example")
    made = [str(tmp_path / "example" / "make-credentials.sh"), "127.0.0.1", "localhost"]
    subprocess.run(made, check=True, capture_output=True)
    config = (tmp_path / "example" / "nats.conf").read_text()
    config = config.replace('listen: "0.0.0.0:4222"', "").replace(
        "./credentials", str(tmp_path / "example" / "credentials")
    )
    broker = Broker(tmp_path / "broker", config, tls=True)
    credentials = tmp_path / "example" / "credentials"
    front, agent = str(credentials / "front.creds"), str(credentials / "agent.creds")
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"one": {"credentials": agent}},
        keys={"credentials": front},
        brokers=[broker],
    ) as cluster:
        assert cluster.front.run("quick")["status"] == "succeeded"
        assert "Violation" not in broker.log
        assert cluster.agents["one"].stop() == 0
        # Not one of asyncio either, which the end of a connection with TLS makes it write.
        assert "warning" not in [event["event"] for event in cluster.agents["one"].events]


def test_two_agents_do_not_share_a_folder(tmp_path: Path) -> None:
    with Cluster(tmp_path, traced(tmp_path)) as cluster:
        spool = cluster.agents["one"].folder / "spool"
        other = cluster.add_agent("other", spoolDir=str(spool))

        done = subprocess.run(other.command, capture_output=True, text=True, timeout=60)

        says = f"{spool}: another agent uses this spoolDir: give each one its own"
        assert (done.returncode, done.stderr) == (1, f"Error: {says}\n")
        assert cluster.front.run("quick")["status"] == "succeeded"


@pytest.mark.parametrize("shown", ["nothing", "of-another-authority"])
def test_wrong_credentials_are_one_line_and_exit_1(tmp_path: Path, shown: str) -> None:
    folders = {}
    for name in ("ours", "theirs"):
        folders[name] = tmp_path / name
        shutil.copytree(EXAMPLE, folders[name])
        made = [str(folders[name] / "make-credentials.sh"), "127.0.0.1"]
        subprocess.run(made, check=True, capture_output=True)
    config = (folders["ours"] / "nats.conf").read_text().replace('listen: "0.0.0.0:4222"', "")
    config = config.replace("./credentials", str(folders["ours"] / "credentials"))
    keys: dict[str, Any] = {}
    if shown != "nothing":
        keys["credentials"] = str(folders["theirs"] / "credentials" / "front.creds")
    with Broker(tmp_path / "broker", config, tls=True) as broker:
        (tmp_path / "front").mkdir()
        front = RunnerProcess(tmp_path / "front", {"quick": "#!/bin/sh\n"})
        cluster = {"nats": [broker.url], **keys}
        listens = {"server": {"port": 0}, "cluster": cluster}
        front.write("config.json", {**listens, "scriptsFile": "./scripts.json"})
        agent = AgentProcess(tmp_path / "one", broker.url, front.folder / "scripts.json", **keys)
        for process in (front, agent):
            done = subprocess.run(process.command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1
            assert done.stderr.startswith(f"Error: the broker at {broker.url}: ")
            assert done.stderr.count("\n") == 1


def test_a_broker_that_is_away_at_the_start_keeps_only_the_jobs_waiting(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, traced(tmp_path))
    try:
        cluster.front.start()
        job_id = cluster.front.submit("quick")
        assert cluster.front.job(job_id)["status"] == "queued"
        assert [event["event"] for event in cluster.front.logged()].count("broker") == 1
        cluster.agents["one"].launch()
        cluster.broker.start()
        assert cluster.front.ended(job_id, LONG_SECONDS)["status"] == "succeeded"
    finally:
        cluster.__exit__()


def test_a_second_front_on_a_broker_touches_nothing(tmp_path: Path) -> None:
    with Cluster(tmp_path, traced(tmp_path)) as cluster:
        job_id = begun(cluster, "works", str(LINES))
        (tmp_path / "other").mkdir()
        other = RunnerProcess(tmp_path / "other", traced(tmp_path))
        keys = {"nats": [cluster.broker.url]}
        other.write(
            "config.json",
            {"server": {"port": 0}, "cluster": keys, "scriptsFile": "./scripts.json"},
        )
        with other:
            wait_until(
                lambda: any(
                    "another local runner" in str(event.get("message")) for event in other.events
                )
            )
            waiting = other.submit("quick")
            assert other.job(waiting)["status"] == "queued"
            assert cluster.front.ended(job_id)["status"] == "succeeded"
            assert cluster.front.log(job_id) == WORK
            assert cluster.front.run("quick")["status"] == "succeeded"
            assert other.job(waiting)["status"] == "queued"
        Traces(tmp_path).assert_none_ran_twice()


def test_of_two_fronts_that_took_each_other_for_dead_the_later_one_gives_way(
    tmp_path: Path,
) -> None:
    with Cluster(tmp_path, traced(tmp_path)) as cluster:
        (tmp_path / "other").mkdir()
        other = RunnerProcess(tmp_path / "other", traced(tmp_path))
        other.write(
            "config.json",
            {
                "server": {"port": 0},
                "cluster": {"nats": [cluster.broker.url]},
                "scriptsFile": "./scripts.json",
            },
        )
        cluster.front.send_signal(signal.SIGSTOP)
        with other:
            assert other.run("quick")["status"] == "succeeded"

            cluster.front.send_signal(signal.SIGCONT)
            wait_until(
                lambda: any(
                    "another local runner" in str(event.get("message")) for event in other.events
                ),
                30,
            )
            job_id = begun(cluster, "works", str(LINES))
            waiting = other.submit("quick")
            assert cluster.front.ended(job_id)["status"] == "succeeded"
            assert other.job(waiting)["status"] == "queued"

            # Both come back to the broker at once.
            job_id = begun(cluster, "works", "100")
            cluster.broker.stop(signal.SIGKILL)
            cluster.broker.start()
            assert cluster.front.ended(job_id, LONG_SECONDS)["status"] == "succeeded"
            assert other.job(waiting)["status"] == "queued"
        Traces(tmp_path).assert_none_ran_twice()


def test_a_thousand_runs_over_four_agents_of_which_one_is_killed(tmp_path: Path) -> None:
    agents = {name: {"slots": 2} for name in ("one", "two", "three", "four")}
    with Cluster(tmp_path, traced(tmp_path), agents=agents) as cluster:
        job_ids = [cluster.front.submit("quick") for _ in range(500)]
        cluster.agents["two"].stop(signal.SIGKILL)
        job_ids += [cluster.front.submit("quick") for _ in range(500)]

        ended = {job_id: cluster.front.ended(job_id, LONG_SECONDS) for job_id in job_ids}

        failed = [job_id for job_id, job in ended.items() if job["status"] != "succeeded"]
        assert len(failed) <= 2, "no more than the slots of the killed agent"
        assert {ended[job_id]["code"] for job_id in failed} <= {-1}
        traces = Traces(tmp_path)
        traces.assert_none_ran_twice()
        assert set(job_ids) - set(failed) <= set(traces.ends)


@needs_namespace
def test_an_agent_that_is_the_first_process_of_a_container_leaves_no_zombies(
    tmp_path: Path,
) -> None:
    script = {"leaves": "#!/bin/sh\nfor n in 1 2 3; do (sleep 0.1 >/dev/null 2>&1 &); done\n"}
    with Cluster(tmp_path, script, agents={"one": {"prefix": AS_FIRST_PROCESS}}) as cluster:
        (agent,) = psutil.Process(cluster.agents["one"].pid).children()
        (keeper,) = agent.children()
        for _ in range(3):
            assert cluster.front.run("leaves")["status"] == "succeeded"
        wait_until(lambda: agent.children() == [keeper])


@pytest.mark.parametrize("restarts", [False, True])
def test_what_comes_after_the_end_of_a_script_is_noted_at_the_front(
    tmp_path: Path, restarts: bool
) -> None:
    gate = tmp_path / "gate"
    wait = f"while [ ! -e '{gate}' ]; do sleep 0.05; done"
    script = {"serves": f"#!/bin/sh\n({wait}; echo late >&2; exec sleep 300) &\necho on\n"}
    with Cluster(tmp_path, script) as cluster:
        job = cluster.front.run("serves")
        if restarts:
            cluster.front.stop()
            cluster.front.start()
        gate.touch()
        later = wait_until(lambda: truncated_or_none(cluster.front.job(job["jobId"])))
        (left,) = processes_of(job["jobId"])
        left.kill()

    assert later == {**job, "stderrTruncated": True}


def truncated_or_none(job: dict[str, Any]) -> dict[str, Any] | None:
    """A job of whose stderr something was thrown away."""
    return job if job["stderrTruncated"] else None
