"""A broker, a front and agents, with scripts written for a test."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.cluster_processes import AgentProcess, Broker
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until

SIGHT_SECONDS = 30.0
"""How long it may take until the front sees an agent, on a busy machine."""


class Cluster:
    """A front with its agents; leaving it ends all processes.

    Attributes:
        broker: The broker, or the first of several.
        front: The local runner.
        agents: The agents by their names.
    """

    def __init__(
        self,
        folder: Path,
        scripts: Mapping[str, str],
        *,
        agents: Mapping[str, Mapping[str, Any]] | None = None,
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        runner: Mapping[str, Any] | None = None,
        keys: Mapping[str, Any] | None = None,
        brokers: Sequence[Broker] = (),
        options: Sequence[str] = (),
    ) -> None:
        """Write the configurations; entering it starts everything.

        Args:
            folder: An empty folder.
            scripts: The text of each script by its id; front and agents list the same.
            agents: Keys of `agent.json` by the name of each agent; one agent by default.
            rules: More keys of a script, by its id.
            runner: Keys of `runner` in config.json.
            keys: Keys of `cluster` in config.json.
            brokers: The brokers; one of its own by default.
            options: More of the front's command line.
        """
        self.brokers = list(brokers) or [Broker(folder / "broker")]
        self.broker = self.brokers[0]
        urls = [broker.url for broker in self.brokers]
        (folder / "front").mkdir()
        self.front = RunnerProcess(folder / "front", scripts, rules=rules, options=options)
        self.front.write(
            "config.json",
            {
                "server": {"port": 0},
                "runner": runner or {},
                "cluster": {"nats": urls, **(keys or {})},
                "scriptsFile": "./scripts.json",
            },
        )
        self._scripts_file = self.front.folder / "scripts.json"
        self._folder, self._urls = folder, urls
        self.agents: dict[str, AgentProcess] = {}
        for name, settings in (agents or {"one": {}}).items():
            self.add_agent(name, **settings)

    def add_agent(self, name: str, **settings: Any) -> AgentProcess:
        """Write the configuration of one more agent."""
        where = {"broker": self._urls, "scripts_file": self._scripts_file, **settings}
        self.agents[name] = AgentProcess(self._folder / name, name=name, **where)
        return self.agents[name]

    def __enter__(self) -> Cluster:
        """Start everything and wait until the front sees all agents."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            for broker in self.brokers:
                broker.start()
            for agent in self.agents.values():
                agent.start()
            self.front.start()
            self.sees(*self.agents)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything at once."""
        self._end()

    def _end(self) -> None:
        for process in (self.front, *self.agents.values()):
            process.end()
        for broker in self.brokers:
            broker.stop(signal.SIGKILL)

    def sees(self, *names: str) -> None:
        """Wait until the front has seen these agents, since it was started last."""

        def seen() -> bool:
            events = self.front.events[self.front.begun :]
            found = {event["agent"] for event in events if event["event"] == "agent"}
            return found >= set(names)

        wait_until(seen, SIGHT_SECONDS)

    def worker(self, job_id: str) -> str:
        """The name of the agent that runs a job."""
        jobs = self.front.http.get("/jobs", params={"limit": 500}).raise_for_status().json()["jobs"]
        (found,) = [job["worker"] for job in jobs if job["jobId"] == job_id]
        return str(found)

    def starts(self, file: Path) -> list[str]:
        """The lines that scripts have appended to a file, one for each start."""
        return file.read_text().split() if file.exists() else []
