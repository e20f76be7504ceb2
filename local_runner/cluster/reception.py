"""What agents say to the front, and how it responds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from nats.aio.msg import Msg

from local_runner import log
from local_runner.cluster.link import Handler
from local_runner.cluster.messages import (
    PROTOCOL,
    TO_FRONT,
    AgentId,
    Catalog,
    End,
    Gone,
    Hello,
    Loss,
    Order,
    Permit,
    Received,
    Recorded,
    Tell,
    parse,
    parse_output,
    sender_of,
)
from local_runner.cluster.offers import Offers
from local_runner.cluster.remote import RemoteProcess, Remotes
from local_runner.cluster.roster import Roster
from local_runner.cluster.voice import Voice
from local_runner.config import ClusterConfig, RunnerConfig
from local_runner.jobs.dispatcher import Dispatcher
from local_runner.jobs.job import LiveJob


class Reception:
    """Handles the messages of agents; it belongs to one event loop.

    Attributes:
        look: Called when an agent may take a job that could not before.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        offers: Offers,
        roster: Roster,
        remotes: Remotes,
        voice: Voice,
        limits: tuple[RunnerConfig, ClusterConfig],
        look: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            dispatcher: Has the jobs.
            offers: What was offered to whom.
            roster: Has the agents.
            remotes: What runs.
            voice: Responds.
            limits: What holds for all scripts, and for the cluster.
            look: See the attribute.
        """
        self._dispatcher = dispatcher
        self._offers = offers
        self._roster = roster
        self._remotes = remotes
        self._voice = voice
        self._runner, self._cluster = limits
        self.look = look
        self._permits: dict[str, asyncio.Task[Order]] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What is done with the messages on which subject."""
        return {
            f"{TO_FRONT}.*.*.hello": self._on_hello,
            f"{TO_FRONT}.*.*.catalog": self._on_catalog,
            f"{TO_FRONT}.*.*.permit": self._on_permit,
            f"{TO_FRONT}.*.*.output.>": self._on_output,
            f"{TO_FRONT}.*.*.end": self._on_end,
            f"{TO_FRONT}.*.*.loss": self._on_loss,
            f"{TO_FRONT}.*.*.gone": self._on_gone,
        }

    # -- who is there

    async def _on_hello(self, message: Msg) -> None:
        agent, _ = sender_of(message.subject)
        self.take_hello(agent, parse(Hello, message.data))

    def take_hello(self, agent: AgentId, hello: Hello) -> None:
        """Note that an agent is there; one that is older than the last is nothing new."""
        now = asyncio.get_running_loop().time()
        state = self._roster.expect(agent, now)
        if state.is_gone or (state.hello is not None and hello.serial <= state.hello.serial):
            return
        if state.hello is None and hello.protocol != PROTOCOL:
            log.event("error", message=f"agent {agent.name} is of another version: upgrade it")
        slots = state.slots(now)
        state.take(hello, now)
        if state.catalog is None or state.catalog.digest != hello.catalog:
            self._voice.tell(agent, Tell(what="describe"))
        if hello.lease_seconds != self._cluster.lease_seconds:
            seconds, replicas = self._cluster.lease_seconds, self._cluster.replicas
            tell = Tell(what="lease", lease_seconds=seconds, replicas=replicas)
            self._voice.tell(agent, tell)
        self._compare(agent, hello)
        if state.slots(now) > slots:
            self.look()

    def _compare(self, agent: AgentId, hello: Hello) -> None:
        """Have both sides agree on what runs there."""
        for job_id in hello.running:
            if self._remotes.find(agent, job_id) is None:
                self._voice.tell(agent, Tell(what="drop", job_id=job_id))
        named = {*hello.running, *hello.asking}
        for process in self._remotes.of(agent):
            if process.job_id not in named and hello.serial > process.serial:
                process.lose(f"{agent.name} does not know the job any more")

    async def _on_catalog(self, message: Msg) -> None:
        agent, _ = sender_of(message.subject)
        state = self._roster.get(agent)
        if state is None or state.hello is None:
            return
        catalog = parse(Catalog, message.data)
        if state.catalog is None:
            labels = ",".join(catalog.labels)
            slots = state.hello.slots
            there = {"agent": agent.name, "host": catalog.host, "slots": slots, "labels": labels}
            log.event("agent", **there, message="is there")
        state.catalog = catalog
        for script_id in self._roster.new_differences(agent.name, catalog):
            log.event(
                "warning",
                message=f"agent {agent.name} has another file for script {script_id} than here",
            )
        self.look()

    async def _on_gone(self, message: Msg) -> None:
        agent, _ = sender_of(message.subject)
        gone = parse(Gone, message.data)
        state = self._roster.expect(agent, asyncio.get_running_loop().time())
        lost = self._remotes.lose_all(agent, gone.reason)
        # It may be said twice: by its keeper, and by whoever has taken its place.
        if lost or (state.hello is not None and not state.is_gone):
            log.event("agent_gone", agent=agent.name, lost_jobs=lost, message=gone.reason)
        state.is_gone = True
        await self._voice.say(message.reply, b"{}")
        self.look()

    # -- permits

    async def _on_permit(self, message: Msg) -> None:
        agent, _ = sender_of(message.subject)
        permit = parse(Permit, message.data)
        # Asked twice the response is the same: the first one may have been lost.
        key = f"{agent} {permit.job_id}"
        deciding = self._permits.get(key)
        if deciding is None:
            deciding = self._permits[key] = self._voice.spawn(self._decide(agent, permit))
            deciding.add_done_callback(lambda _: self._permits.pop(key, None))
        self._voice.spawn(self._respond(message.reply, deciding))

    async def _respond(self, reply: str, deciding: asyncio.Task[Order]) -> None:
        order = await asyncio.shield(deciding)
        await self._voice.say(reply, order.encode())

    async def _decide(self, agent: AgentId, permit: Permit) -> Order:
        job_id = permit.job_id
        job = self._dispatcher.begun(job_id)
        if job is not None and job.record.worker == str(agent):
            return self._order(agent, job)
        if not self._offers.is_offered(job_id, agent):
            return Order(go=False)
        started = await self._dispatcher.start_on(job_id, str(agent))
        self._offers.withdraw(job_id)
        job = self._dispatcher.begun(job_id)
        if not started or job is None:
            return Order(go=False)
        if process := self._remotes.find(agent, job_id):
            process.serial = permit.serial
        return self._order(agent, job)

    def _order(self, agent: AgentId, job: LiveJob) -> Order:
        process = self._remotes.find(agent, job.record.job_id)
        if process is None or process.has_ended:
            return Order(go=False)
        order = Order(
            go=True,
            script_id=job.script.id,
            args=tuple(job.record.args),
            timeout_seconds=job.script.timeout_sec,
            kill_grace_seconds=self._runner.kill_grace_seconds,
            log_bytes=self._runner.max_log_bytes_per_stream,
            preview_bytes=self._runner.preview_max_bytes,
            lease_seconds=self._cluster.lease_seconds,
            replicas=self._cluster.replicas,
        )
        if not self._voice.can_say(order.encode()):
            process.lose("its arguments are larger than the broker's max_payload")
            return Order(go=False)
        return order

    # -- what comes of a script

    async def _on_output(self, message: Msg) -> None:
        agent, rest = sender_of(message.subject)
        output = parse_output(rest)
        process = self._remotes.find(agent, output.job_id)
        # Output of what is over here is thrown away, so that its agent comes to the end of it.
        received = output.offset + len(message.data)
        if process is not None:
            received = process.take(output, message.data)
            if process.logs.is_full and message.reply:
                # Its agent waits for the response, and so in the end its script, for a slow disk.
                self._voice.spawn(self._respond_when_written(process, message.reply, received))
                return
        # Without, the sender learns from the response to the end.
        if message.reply:
            await self._voice.say(message.reply, Received(next=received).encode())

    async def _respond_when_written(
        self, process: RemoteProcess, reply: str, received: int
    ) -> None:
        await process.logs.flush()
        await self._voice.say(reply, Received(next=received).encode())

    async def _on_end(self, message: Msg) -> None:
        agent, _ = sender_of(message.subject)
        self._voice.spawn(self._record_end(agent, parse(End, message.data), message.reply))

    async def _record_end(self, agent: AgentId, end: End, reply: str) -> None:
        recorded = Recorded(ok=True)
        process = self._remotes.find(agent, end.job_id)
        job = self._dispatcher.begun(end.job_id)
        if process is not None and job is not None:
            recorded = process.finish(end)
            if recorded.ok:
                await job.recorded.wait()
        await self._voice.say(reply, recorded.encode())

    async def _on_loss(self, message: Msg) -> None:
        agent, _ = sender_of(message.subject)
        self._voice.spawn(self._note_loss(agent, parse(Loss, message.data), message.reply))

    async def _note_loss(self, agent: AgentId, loss: Loss, reply: str) -> None:
        if process := self._remotes.find(agent, loss.job_id):
            process.logs.lose(loss.stream)
        else:
            await self._dispatcher.note_loss(loss.job_id, str(agent), loss.stream)
        await self._voice.say(reply, b"{}")
