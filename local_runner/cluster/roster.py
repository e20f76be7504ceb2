"""The agents as the front knows them: who is there, who can take a job."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from local_runner.cluster.catalog import digest_of_file
from local_runner.cluster.messages import PROTOCOL, AgentId, Catalog, Hello
from local_runner.config import ScriptConfig
from local_runner.jobs.listing import AgentView, AgentWord

PRESENT_SECONDS = 3.0
"""An agent that was heard so lately gets jobs; it says each second that it is there."""

FORGET_SECONDS = 60.0
"""How long an agent that is away, and runs nothing, is still listed."""


@dataclass
class AgentState:
    """An agent as the front knows it.

    Attributes:
        id: Which it is.
        heard: When it was heard last, by the clock of the front.
        alive: When it may have been alive last, as far as front and brokers know.
        hello: What it said then; None before its first hello.
        lease_seconds: The lease that it keeps.
        asked: Whether the brokers were asked for its last hello since it was heard.
        stored: What they had then, or None.
        catalog: What it can run; None until it has said so.
        is_gone: Whether it is no more.
    """

    id: AgentId
    heard: float
    alive: float
    hello: Hello | None = None
    lease_seconds: float = 0.0
    asked: bool = False
    stored: Hello | None = None
    catalog: Catalog | None = None
    is_gone: bool = False

    def take(self, hello: Hello, now: float) -> None:
        """Note a hello that was heard."""
        self.hello, self.heard, self.alive = hello, now, now
        self.lease_seconds = hello.lease_seconds
        self.asked, self.stored = False, None

    def note_stored(self, hello: Hello | None, now: float) -> None:
        """Note the last hello that the brokers have, or that they have none.

        What is new in that counts from now: it may have been said just before. Where there is
        none, there may have been one that was lost.
        """
        if hello is None:
            is_new = self.stored is not None or not self.asked
        else:
            known = [known.serial for known in (self.hello, self.stored) if known]
            is_new = hello.serial > max(known, default=0)
            self.lease_seconds = max(self.lease_seconds, hello.lease_seconds)
        if is_new:
            self.alive = now
        self.asked, self.stored = True, hello

    def is_present(self, now: float) -> bool:
        """Whether it was heard lately."""
        present = now - self.heard <= PRESENT_SECONDS
        return self.hello is not None and present and not self.is_gone

    def slots(self, now: float) -> int:
        """How many slots it has for jobs, free or not; 0 if it takes none."""
        if self.hello is None or self.hello.protocol != PROTOCOL or self.hello.draining:
            return 0
        return self.hello.slots if self.is_present(now) else 0

    def can_run(self, script: ScriptConfig, now: float) -> bool:
        """Whether it lists a script, has the labels, and takes jobs at all."""
        return (
            self.slots(now) > 0
            and self.catalog is not None
            and script.id in self.catalog.scripts
            and set(script.labels) <= set(self.catalog.labels)
        )


class Roster:
    """All agents the front knows."""

    def __init__(self, scripts: Iterable[ScriptConfig]) -> None:
        """Begin without any.

        Args:
            scripts: Those of the front, whose files may be there as well.
        """
        self._agents: dict[AgentId, AgentState] = {}
        self._digests = {script.id: digest_of_file(script.path) for script in scripts}
        self._different: set[tuple[str, str, str]] = set()

    def __iter__(self) -> Iterator[AgentState]:
        """All of them."""
        return iter(list(self._agents.values()))

    def get(self, agent: AgentId) -> AgentState | None:
        """What is known of an agent, or None."""
        return self._agents.get(agent)

    def expect(self, agent: AgentId, now: float) -> AgentState:
        """What is known of an agent; one that was never heard counts as heard now."""
        return self._agents.setdefault(agent, AgentState(agent, now, now))

    def remove(self, agent: AgentId) -> None:
        """Forget an agent."""
        self._agents.pop(agent, None)

    def forget_the_absent(self, now: float, needed: Iterable[AgentId]) -> None:
        """Forget agents that are away for long, but for some."""
        kept = set(needed)
        for state in self:
            if state.id not in kept and now - state.heard > FORGET_SECONDS:
                self.remove(state.id)

    def best_for(
        self, script: ScriptConfig, busy: Counter[AgentId], now: float
    ) -> AgentState | None:
        """The agent with the most free slots of those that can run a script, or None.

        Args:
            script: The script.
            busy: How many slots of each agent are taken.
            now: The time.
        """
        states = list(self._agents.values())
        # From anywhere on, so that of agents with as many free slots each has its turn.
        first = random.randrange(len(states) or 1)
        best: AgentState | None = None
        most = 0
        for state in states[first:] + states[:first]:
            free = state.slots(now) - busy[state.id]
            if free > most and state.can_run(script, now):
                best, most = state, free
        return best

    def able(self, script: ScriptConfig, now: float) -> int:
        """How many agents can run a script now."""
        return sum(state.can_run(script, now) for state in self._agents.values())

    def new_differences(self, name: str, catalog: Catalog) -> list[str]:
        """The scripts whose files differ from the front's own, or from that of the first agent.

        Each difference is told once.
        """
        found = []
        for script_id, digest in catalog.scripts.items():
            if digest:
                self._digests[script_id] = self._digests.get(script_id) or digest
                difference = (name, script_id, digest)
                if digest != self._digests[script_id] and difference not in self._different:
                    self._different.add(difference)
                    found.append(script_id)
        return found

    def views(self, busy: Counter[AgentId], now: float) -> list[AgentView]:
        """The agents for a list, by their names."""
        return [
            AgentView(
                name=state.id.name,
                host=state.catalog.host,
                labels=state.catalog.labels,
                slots=state.hello.slots,
                running=busy[state.id],
                state=_word(state, now),
            )
            for state in sorted(self._agents.values(), key=lambda state: state.id)
            if state.hello is not None and state.catalog is not None and not state.is_gone
        ]

    def lacking(self, scripts: Iterable[ScriptConfig], now: float) -> list[ScriptConfig]:
        """The scripts that no agent can run now."""
        return [script for script in scripts if not self.able(script, now)]


def _word(state: AgentState, now: float) -> AgentWord:
    if not state.is_present(now):
        return "away"
    return "draining" if state.hello is not None and state.hello.draining else "ready"
