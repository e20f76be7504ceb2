"""What the front does by the clock: finds out who is dead, and repeats itself."""

from __future__ import annotations

import asyncio

from local_runner import log
from local_runner.cluster.lease import Contact, is_dead
from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.messages import Tell
from local_runner.cluster.quorum import last_hello
from local_runner.cluster.reception import Reception
from local_runner.cluster.reminder import Reminder
from local_runner.cluster.remote import RemoteProcess, Remotes
from local_runner.cluster.roster import AgentState, Roster
from local_runner.cluster.voice import Voice
from local_runner.config import ClusterConfig
from local_runner.jobs.dispatcher import Dispatcher
from local_runner.jobs.reader import Reader

WATCH_SECONDS = 0.5
"""How often agents are checked for being dead."""

REPEAT_SECONDS = 1.0
"""How often an agent is told again what has had no effect."""

FIRST_HELLOS_SECONDS = 2.5
"""After so long all agents that are there have said so."""


class Watch:
    """Looks after the agents and what runs on them; it belongs to one event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        reader: Reader,
        reception: Reception,
        roster: Roster,
        remotes: Remotes,
        voice: Voice,
        link: Link,
        limits: tuple[ClusterConfig, float],
    ) -> None:
        """Begin.

        Args:
            dispatcher: Has the jobs.
            reader: Has the scripts.
            reception: Takes what is heard of an agent in another way.
            roster: Has the agents.
            remotes: What runs.
            voice: Tells the agents.
            link: The way to the broker.
            limits: What holds for the cluster, and the grace from SIGTERM to SIGKILL.
        """
        self.contact = Contact()
        self._dispatcher = dispatcher
        self._reader = reader
        self._reception = reception
        self._roster = roster
        self._remotes = remotes
        self._voice = voice
        self._link = link
        self._cluster, self._grace = limits
        self._reminder = Reminder(self._now)

    async def run(self) -> None:
        """Go on until this is cancelled."""
        await asyncio.gather(self._judge_all(), self._repeat(), self._say_who_is_there())

    def wished(self, process: RemoteProcess) -> None:
        """Tell an agent what is wanted of a script."""
        if process.wish is not None:
            self._voice.tell(process.agent, Tell(what=process.wish, job_id=process.job_id))

    async def _repeat(self) -> None:
        """Tell again what has had no effect, forget what is over, offer what was missed."""
        while True:
            await asyncio.sleep(REPEAT_SECONDS)
            for process in self._remotes:
                self.wished(process)
            self._remotes.forget(lambda job_id: self._dispatcher.begun(job_id) is None)
            self._reception.look()

    async def _judge_all(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for agent in self._remotes.busy():
                await self._judge(self._roster.expect(agent, self._now()))
            self._roster.forget_the_absent(self._now(), self._remotes.busy())
            await self._note_lacking()

    async def _judge(self, state: AgentState) -> None:
        """Call the jobs of an agent lost if it must be dead."""
        now = self._now()
        if state.is_present(now) or self.contact.since(now) is None:
            return
        if self._cluster.replicas > 1:
            # The brokers may hear it although we do not. Asked from its first silence on, so that
            # what they heard last does not count from much later than it was said.
            try:
                stored = await last_hello(self._link, state.id)
            except BrokerAway:
                return
            state.note_stored(stored, self._now())
        if not self._looks_dead(state):
            return
        lost = self._remotes.lose_all(state.id, f"{state.id.name} was not heard any more")
        log.event("agent_lost", agent=state.id.name, lost_jobs=lost)

    def _looks_dead(self, state: AgentState) -> bool:
        now = self._now()
        lease = max(self._cluster.lease_seconds, state.lease_seconds)
        return is_dead(now, state.alive, self.contact.since(now), lease, self._grace)

    async def _note_lacking(self) -> None:
        """Say now and then that jobs wait for an agent that is not there."""
        if not self._link.connected.is_set():
            return
        states = await self._reader.scripts()
        waiting = [state.script for state in states if state.queued]
        lacking = self._roster.lacking(waiting, self._now())
        for script in lacking if lacking and self._reminder.is_due() else ():
            with_labels = f" with the labels {', '.join(script.labels)}" if script.labels else ""
            log.event("warning", message=f"no agent{with_labels} is there that lists {script.id}")

    async def _say_who_is_there(self) -> None:
        await self._link.connected.wait()
        await asyncio.sleep(FIRST_HELLOS_SECONDS)
        names = sorted(state.id.name for state in self._roster if state.catalog is not None)
        log.event("agents", count=len(names), names=",".join(names))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
