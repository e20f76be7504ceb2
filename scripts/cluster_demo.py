"""Show a cluster: a broker, a front and three agents; flow-1 through it; one agent killed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from scripts.cluster_processes import AgentProcess, Broker
from scripts.runner_process import RunnerProcess
from scripts.stopping import exit_when_told, run_child
from scripts.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
SIGHT_SECONDS = 30.0


def main() -> int:
    """Run the demo; returns the exit code."""
    exit_when_told()
    with tempfile.TemporaryDirectory(prefix="script-runner-cluster-") as name:
        folder = Path(name)
        ignore = shutil.ignore_patterns("var", "cluster")
        shutil.copytree(ROOT / "examples", folder / "front", ignore=ignore)
        with contextlib.ExitStack() as stack:
            broker = stack.enter_context(Broker(folder / "broker"))
            front = RunnerProcess(folder / "front")
            configure(front, broker.url)
            agents = []
            for agent_name in ("red", "green", "blue"):
                scripts = folder / "front" / "scripts.json"
                agent = AgentProcess(folder / agent_name, broker.url, scripts, slots=2)
                stack.callback(agent.end)
                agents.append(agent.start())
            stack.callback(front.end)
            front.start()
            wait_until(lambda: len(listed(front)) == 3, SIGHT_SECONDS)
            return show(front, agents)


def configure(front: RunnerProcess, url: str) -> None:
    """Write the front's configuration."""
    runner = {"killGraceSeconds": 1}
    cluster = {"nats": [url], "leaseSeconds": 5}
    content = {"server": {"port": 0}, "runner": runner, "cluster": cluster}
    front.write("config.json", {**content, "scriptsFile": "./scripts.json"})


def show(front: RunnerProcess, agents: list[AgentProcess]) -> int:
    """Run flow-1, and a job on an agent that is killed; returns the exit code of the flow."""
    say(f"The front serves examples/ on {front.url}; what runs the scripts are three agents,")
    print("each of which could be on a machine of its own:")
    print_agents(front)
    flow = ["-m", "scripts.flow.cli", str(ROOT / "flows" / "flow-1"), "--url", front.url]
    say("flow-1 through them; to the flow it is one script-runner:")
    code = run_child([sys.executable, *flow], ROOT)
    say("A job on each of the six slots, and one more that waits:")
    jobs = [front.submit("long-task", "5") for _ in range(7)]
    wait_until(lambda: len(workers(front, jobs)) == 6, SIGHT_SECONDS)
    print_jobs(front, jobs)
    victim = agents[0]
    say(f"kill -9 of the agent {victim.name}. What it ran is ended by its keeper, and fails:")
    victim.stop(signal.SIGKILL)
    begun = time.monotonic()
    wait_until(lambda: any(front.job(job)["status"] == "failed" for job in jobs), SIGHT_SECONDS)
    print(f"  after {time.monotonic() - begun:.1f} s the API says:")
    print_jobs(front, jobs)
    for job in jobs:
        front.ended(job)
    say("In the end the others have succeeded, the one that waited, too. What failed is not run")
    print("again by itself: it may have done half of its work.")
    print_jobs(front, jobs)
    print_agents(front)
    print("\nSet up a real one: docs/cluster.md")
    return code


def listed(front: RunnerProcess) -> list[dict[str, object]]:
    """The agents as `GET /scripts` has them."""
    return list(front.http.get("/scripts").raise_for_status().json()["agents"])


def print_agents(front: RunnerProcess) -> None:
    """Print which agents there are."""
    for agent in listed(front):
        print(f"  {agent['name']:6} {agent['slots']} slots, {agent['state']}")


def workers(front: RunnerProcess, jobs: list[str]) -> dict[str, str]:
    """The agents that run jobs, or have run them."""
    found = front.http.get("/jobs", params={"limit": 50}).raise_for_status().json()["jobs"]
    return {job["jobId"]: job["worker"] for job in found if job["jobId"] in jobs and job["worker"]}


def print_jobs(front: RunnerProcess, jobs: list[str]) -> None:
    """Print where jobs are."""
    where = workers(front, jobs)
    width = max(map(len, jobs))
    for job_id in jobs:
        job = front.job(job_id)
        code = "" if job["code"] is None else f" ({job['code']})"
        print(f"  {job_id:{width}}  {where.get(job_id, '-'):6} {job['status']}{code}")


def say(text: str) -> None:
    """Print what comes next."""
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
