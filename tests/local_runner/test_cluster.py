"""Many machines: what a caller sees is what one machine shows, and a bit more in the lists."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster

SCRIPTS = {
    "greet": '#!/bin/sh\nprintf "hello %s\\n" "$1"\nprintf "warn\\n" >&2\nexit "${2:-0}"\n',
    "count": '#!/bin/sh\nfor i in $(seq "$1"); do echo "$i"; sleep 0.05; done\n',
    "sleeps": "#!/bin/sh\necho begun\nexec sleep 60\n",
    "deaf": "#!/bin/sh\ntrap '' TERM\necho begun\nwhile :; do sleep 0.1; done\n",
    "limited": "#!/bin/sh\necho begun\nexec sleep 60\n",
    "prints": '#!/bin/sh\nseq "$1"\n',
    "gpu": "#!/bin/sh\necho on the gpu\n",
    "tpu": "#!/bin/sh\necho on the tpu\n",
    "alone": '#!/bin/sh\necho start >> "$1"\nsleep 0.3\necho end >> "$1"\n',
    "at-home": '#!/bin/sh\npwd\necho "$WHO"\n',
}
RULES: Mapping[str, Mapping[str, Any]] = {
    "limited": {"timeoutSec": 1},
    "gpu": {"labels": ["gpu"]},
    "tpu": {"labels": ["tpu"]},
    "alone": {"maxConcurrent": 1},
    "at-home": {"workingDir": "/", "env": {"WHO": "me"}, "launcher": ["nice", "-n", "1"]},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A front and two agents, one of which has a label."""
    agents: Mapping[str, Mapping[str, Any]] = {
        "plain": {"slots": 2},
        "fast": {"slots": 2, "labels": ["gpu", "big"]},
    }
    limits = {"maxLogBytesPerStream": 1_000_000, "killGraceSeconds": 0.5}
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, SCRIPTS, rules=RULES, runner=limits, agents=agents) as running:
        yield running


def test_a_sync_run_has_output_and_code_of_the_script(cluster: Cluster) -> None:
    job = cluster.front.run("greet", "Ada", "3")

    assert (job["status"], job["code"]) == ("failed", 3)
    assert (job["stdoutPreview"], job["stderrPreview"]) == ("hello Ada\n", "warn\n")


def test_arguments_arrive_as_they_are(cluster: Cluster) -> None:
    argument = "a b\t\"'$HOME`id`\\ ü\n日志 *"

    assert cluster.front.run("greet", argument)["stdoutPreview"] == f"hello {argument}\n"


def test_output_can_be_read_while_the_script_runs(cluster: Cluster) -> None:
    job_id = cluster.front.submit("sleeps")

    cluster.front.printed(job_id, "begun")
    assert cluster.front.job(job_id)["status"] == "running"
    cluster.front.cancel(job_id)
    assert cluster.front.ended(job_id)["status"] == "canceled"


def test_a_script_that_ignores_the_end_is_killed_after_the_grace(cluster: Cluster) -> None:
    job_id = cluster.front.submit("deaf")
    cluster.front.printed(job_id, "begun")

    cluster.front.cancel(job_id)

    assert cluster.front.ended(job_id)["status"] == "canceled"


def test_the_time_limit_holds(cluster: Cluster) -> None:
    job = cluster.front.run("limited")

    assert (job["status"], job["code"], job["stdoutPreview"]) == ("timed_out", -1, "begun\n")


def test_much_output_arrives_whole_and_in_order(cluster: Cluster) -> None:
    job_ids = [cluster.front.submit("prints", "100000") for _ in range(4)]

    expected = "".join(f"{number}\n" for number in range(1, 100_001))
    for job_id in job_ids:
        assert cluster.front.ended(job_id)["stdoutTruncated"] is False
        response = cluster.front.http.get(f"/jobs/{job_id}/logs", params={"limit": 1_000_000})
        assert response.json()["data"] == expected


def test_of_too_much_output_the_log_has_the_beginning_and_the_preview_the_end(
    cluster: Cluster,
) -> None:
    job = cluster.front.run("prints", "1000000")

    assert (job["stdoutSize"], job["stdoutTruncated"]) == (1_000_000, True)
    assert job["stdoutPreview"].endswith("\n999999\n1000000\n")
    assert len(job["stdoutPreview"]) == 4096


def test_a_file_that_is_missing_on_the_agent_is_told_as_on_one_machine(cluster: Cluster) -> None:
    gpu = cluster.front.folder / "gpu.sh"
    away = gpu.rename(gpu.with_suffix(".away"))
    try:
        job = cluster.front.run("gpu")
    finally:
        away.rename(gpu)

    assert (job["status"], job["code"]) == ("failed", 127)
    assert job["stderrPreview"] == f"{gpu}: no such file\n"


def test_a_script_runs_where_its_labels_are(cluster: Cluster) -> None:
    job_ids = [cluster.front.submit("gpu") for _ in range(6)]

    assert {cluster.front.ended(job_id)["status"] for job_id in job_ids} == {"succeeded"}
    assert {cluster.worker(job_id) for job_id in job_ids} == {"fast"}


def test_a_label_that_nobody_has_keeps_only_its_own_jobs_waiting(cluster: Cluster) -> None:
    waiting = cluster.front.submit("tpu")

    assert cluster.front.run("greet", "Ada")["status"] == "succeeded"
    assert cluster.front.job(waiting)["status"] == "queued"
    assert cluster.front.cancel(waiting)["status"] == "canceled"


def test_the_lists_show_the_machines_and_what_runs_where(cluster: Cluster) -> None:
    job_id = cluster.front.submit("sleeps")
    cluster.front.printed(job_id, "begun")

    listed = cluster.front.http.get("/scripts").raise_for_status().json()

    worker = cluster.worker(job_id)
    agents = {agent["name"]: agent for agent in listed["agents"]}
    assert {name: agent["labels"] for name, agent in agents.items()} == {
        "plain": [],
        "fast": ["gpu", "big"],
    }
    assert {agent["state"] for agent in listed["agents"]} == {"ready"}
    assert {agent["slots"] for agent in listed["agents"]} == {2}
    assert agents[worker]["running"] == 1
    able = {script["id"]: script["agents"] for script in listed["scripts"]}
    assert (able["greet"], able["gpu"], able["tpu"]) == (2, 1, 0)
    cluster.front.cancel(job_id)


def test_max_concurrent_of_a_script_counts_over_all_agents(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "order"
    job_ids = [cluster.front.submit("alone", str(file)) for _ in range(4)]

    assert {cluster.front.ended(job_id)["status"] for job_id in job_ids} == {"succeeded"}
    assert file.read_text().split() == ["start", "end"] * 4


def test_folder_environment_and_launcher_are_those_of_the_agents_file(cluster: Cluster) -> None:
    assert cluster.front.run("at-home")["stdoutPreview"] == "/\nme\n"


def test_check_tells_who_is_there_and_what_nobody_can_run(cluster: Cluster) -> None:
    check = [sys.executable, "-m", "local_runner", "check", "--config"]
    front = subprocess.run(
        [*check, str(cluster.front.folder / "config.json")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    agent = subprocess.run(
        [*check, str(cluster.agents["fast"].folder / "agent.json"), "--agent"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout

    assert "broker       lets us in\n" in front
    assert "agents       fast, plain\n" in front
    assert "warning: no agent with the labels tpu is there that lists tpu\n" in front
    assert "broker       lets us in\n" in agent


def test_scriptctl_lists_the_agents(cluster: Cluster) -> None:
    command = [sys.executable, "-m", "script_runner.cli", "--url", cluster.front.url, "agents"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    rows = [line.split("\t")[:5] for line in listed.splitlines()]
    assert rows == [["fast", "ready", "0", "2", "gpu,big"], ["plain", "ready", "0", "2", ""]]


def test_nothing_of_it_is_imported_without_a_cluster() -> None:
    code = (
        "import sys, local_runner.cli\n"
        "print([name for name in sys.modules if 'cluster' in name or 'nats' in name])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
