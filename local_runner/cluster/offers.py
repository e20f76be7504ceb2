"""Which queued job is offered to which agent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from local_runner.cluster.messages import AgentId, Tell
from local_runner.cluster.remote import Remotes
from local_runner.cluster.roster import Roster
from local_runner.cluster.voice import Voice
from local_runner.jobs.dispatcher import Dispatcher
from local_runner.jobs.job import LiveJob

OFFER_SECONDS = 2.0
"""How long an agent has to ask for what it was offered; then another one is offered it."""


@dataclass(frozen=True)
class _Offer:
    agent: AgentId
    until: float


class Offers:
    """Offers queued jobs to agents with free slots; it belongs to one event loop.

    An offer changes nothing: the job stays queued until an agent asks for it.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        roster: Roster,
        remotes: Remotes,
        voice: Voice,
    ) -> None:
        """Begin without any.

        Args:
            dispatcher: Has the queue.
            roster: Has the agents.
            remotes: What runs.
            voice: Tells the agents.
        """
        self._dispatcher = dispatcher
        self._roster = roster
        self._remotes = remotes
        self._voice = voice
        self._offers: dict[str, _Offer] = {}
        self._looking: asyncio.Handle | None = None

    def look(self, after: float = 0.0) -> None:
        """Offer soon what can be: something has changed."""
        loop = asyncio.get_running_loop()
        if after:
            loop.call_later(after, self.look)
        elif self._looking is None:
            self._looking = loop.call_soon(self._look)

    def is_offered(self, job_id: str, agent: AgentId) -> bool:
        """Whether a job was offered to an agent."""
        offer = self._offers.get(job_id)
        return offer is not None and offer.agent == agent

    def withdraw(self, job_id: str) -> None:
        """Forget an offer: it was taken, or there is nothing left to take."""
        self._offers.pop(job_id, None)

    def _look(self) -> None:
        self._looking = None
        now = asyncio.get_running_loop().time()
        self._offers = {
            job_id: offer for job_id, offer in self._offers.items() if offer.until > now
        }
        taken = self._remotes.busy()
        taken.update(offer.agent for offer in self._offers.values())
        chosen: dict[str, AgentId] = {}

        def place(job: LiveJob) -> bool:
            """Choose an agent, unless the job has one; False if none can take this script now."""
            if job.record.job_id in self._offers:
                return True
            state = self._roster.best_for(job.script, taken, now)
            if state is None:
                return False
            taken[state.id] += 1
            chosen[job.record.job_id] = state.id
            return True

        for job in self._dispatcher.startable(place):
            if (agent := chosen.get(job.record.job_id)) is not None:
                self._offers[job.record.job_id] = _Offer(agent, now + OFFER_SECONDS)
        for job_id, agent in chosen.items():
            self._voice.tell(agent, Tell(what="offer", job_id=job_id))
        if chosen:
            self.look(after=OFFER_SECONDS + 0.01)
