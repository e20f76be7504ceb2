"""The front: keeps the jobs, and has agents run them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from local_runner import log
from local_runner.cluster.broker import broker
from local_runner.cluster.lease import HEARD_SECONDS
from local_runner.cluster.link import BrokerAway, Handler, Link
from local_runner.cluster.messages import (
    BEAT,
    FRONT_INBOX,
    PRESENCE,
    AgentId,
    MalformedMessage,
    Presence,
    parse,
)
from local_runner.cluster.offers import Offers
from local_runner.cluster.quorum import make_stream, refused
from local_runner.cluster.reception import Reception
from local_runner.cluster.reminder import Reminder
from local_runner.cluster.remote import RemoteProcess, Remotes
from local_runner.cluster.roster import Roster
from local_runner.cluster.voice import Voice
from local_runner.cluster.watch import Watch
from local_runner.config import Config, ScriptConfig
from local_runner.jobs.dispatcher import Dispatcher
from local_runner.jobs.listing import AgentView
from local_runner.jobs.reader import Reader
from local_runner.processes.launcher import Launch

RIVAL_SECONDS = 0.5
"""How long another front has to respond."""

RIVAL_AGAIN_SECONDS = 5.0
"""How often it is asked whether it is still there."""


class Front:
    """The front; for the scheduler these are its `Workers`. It belongs to one event loop."""

    def __init__(self, config: Config, *, scripts_go_on: bool) -> None:
        """Prepare.

        Args:
            config: The configuration, with a cluster.
            scripts_go_on: See `Workers`.

        Raises:
            ConfigError: If the credentials cannot be read.
        """
        assert config.cluster is not None
        self.scripts_go_on = scripts_go_on
        self._config, self._cluster = config, config.cluster
        self._id = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        where = broker(self._cluster.nats, self._cluster.credentials, FRONT_INBOX)
        self._link = Link(where, "front", self._loop.time)
        self._voice = Voice(self._link)
        self._roster = Roster(config.scripts)
        self._remotes = Remotes()
        self._reminder = Reminder(self._loop.time)
        self._alone = self._waits = False
        self._alone_since: float | None = None
        self._client: Client | None = None
        self._dispatcher: Dispatcher | None = None
        self._offers: Offers | None = None
        self._watch: Watch | None = None
        self._from_agents: Mapping[str, Handler] = {}

    # -- for the scheduler

    def look(self) -> None:
        """See whether a job can be offered; see `Workers.look`."""
        if self._offers is not None and self._alone and self._link.connected.is_set():
            self._offers.look()

    def start(self, launch: Launch) -> RemoteProcess:
        """Take a script whose agent has the permit."""
        assert self._dispatcher is not None
        job = self._dispatcher.begun(launch.job_id)
        assert job is not None
        return self.resume(launch, job.record.worker or "")

    def resume(self, launch: Launch, worker: str) -> RemoteProcess:
        """Take a script that runs on a machine; see `Workers.resume`."""
        agent = AgentId.parse(worker)
        process = RemoteProcess(launch, agent, self._wished)
        self._remotes.add(process)
        self._roster.expect(agent, self._loop.time())
        return process

    def detach(self) -> None:
        """Leave all scripts alone; see `Workers.detach`."""
        for process in self._remotes:
            process.detach()

    def agents(self) -> list[AgentView]:
        """The agents that are known; see `Workers.agents`."""
        return self._roster.views(self._remotes.busy(), self._loop.time())

    def able(self, script: ScriptConfig) -> int:
        """How many agents can run a script now; see `Workers.able`."""
        return self._roster.able(script, self._loop.time())

    def _wished(self, process: RemoteProcess) -> None:
        # Before `open` it waits for the first repetition.
        if self._watch is not None:
            self._watch.wished(process)

    # -- its life

    async def open(self, dispatcher: Dispatcher, reader: Reader) -> None:
        """Reach the broker, or go on trying; see `Workers.open`.

        Raises:
            BrokerRefuses: If the broker does not let the front in.
        """
        self._dispatcher = dispatcher
        self._offers = Offers(dispatcher, self._roster, self._remotes, self._voice)
        reception = Reception(
            dispatcher,
            self._offers,
            self._roster,
            self._remotes,
            self._voice,
            (self._config.runner, self._cluster),
            self.look,
        )
        self._watch = Watch(
            dispatcher,
            reader,
            reception,
            self._roster,
            self._remotes,
            self._voice,
            self._link,
            (self._cluster, self._config.runner.kill_grace_seconds),
        )
        self._from_agents = reception.handlers
        self._link.handlers = {PRESENCE: self._on_front}
        self._link.on_connect = self._connected
        self._link.on_beat = self._heard
        linking = self._voice.spawn(self._link.run())
        await self._first_try(linking)
        self._voice.spawn(self._watch.run())

    async def _first_try(self, linking: asyncio.Task[None]) -> None:
        tried = asyncio.create_task(self._link.tried.wait())
        await asyncio.wait([linking, tried], return_when=asyncio.FIRST_COMPLETED)
        tried.cancel()
        if linking.done():
            linking.result()

    async def close(self) -> None:
        """Say no more."""
        await self._voice.cancel()

    async def _connected(self, client: Client) -> None:
        self._alone = False
        self._client = client
        self._voice.spawn(self._look_for_rivals(client))

    async def _heard(self, asked: float) -> None:
        if self._cluster.replicas == 1:
            self._note_contact(asked)
        else:
            self._voice.spawn(self._confirm(asked))

    def _note_contact(self, asked: float) -> None:
        # Before it hears the agents, it cannot tell which of them are silent.
        if self._alone and self._watch is not None:
            self._watch.contact.heard(asked)

    async def _confirm(self, asked: float) -> None:
        reason = await refused(self._link, BEAT, b"{}")
        if reason is None:
            self._note_contact(asked)
            return
        # The brokers may be new, or have lost what they had.
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            assert self._client is not None
            await make_stream(self._client, self._cluster.replicas)
        is_long = self._link.majority.lacking_seconds(self._loop.time()) > HEARD_SECONDS
        if is_long and self._reminder.is_due():
            message = f"the brokers renew no leases, so that agents end their scripts: {reason}"
            log.event("broker", message=message)

    # -- other fronts

    async def _look_for_rivals(self, client: Client) -> None:
        """Hear no agent and offer nothing while another front does.

        Each would refuse and end what the other one has started.
        """
        if self._waits:
            # The broker was away: the other one comes back first.
            await asyncio.sleep(RIVAL_AGAIN_SECONDS)
        while (rival := await self._rival()) is not None:
            if not self._waits:
                self._wait_for(rival)
            await asyncio.sleep(RIVAL_AGAIN_SECONDS)
        # On another connection it is looked for again.
        if self._client is client:
            with contextlib.suppress(BrokerAway):
                await self._link.hear(self._from_agents)
                self._alone, self._waits = True, False
                self._alone_since = self._alone_since or self._loop.time()
                self.look()
                await self._give_way(client)

    async def _give_way(self, client: Client) -> None:
        """Begin anew if there is an older front after all, which was frozen or busy before."""
        while self._client is client and not client.is_closed:
            await asyncio.sleep(RIVAL_AGAIN_SECONDS)
            if (rival := await self._rival()) is not None:
                self._wait_for(rival)
                await client.close()

    def _wait_for(self, rival: Presence) -> None:
        self._waits, self._alone_since = True, None
        message = f"another local runner, on {rival.host}, uses this broker: jobs wait"
        log.event("error", message=message)

    async def _rival(self) -> Presence | None:
        """Another front that has offered jobs for as long as this one, or longer."""
        # Before it is asked, which takes a while: of two that began at once none would give way.
        alone_seconds = self._alone_seconds
        try:
            rival = parse(
                Presence, await self._link.request(PRESENCE, self._presence(), RIVAL_SECONDS)
            )
        except (BrokerAway, MalformedMessage):
            return None
        return rival if rival.alone_seconds >= alone_seconds else None

    @property
    def _alone_seconds(self) -> float:
        return self._loop.time() - self._alone_since if self._alone_since else 0.0

    async def _on_front(self, message: Msg) -> None:
        # One that waits itself does not hold up another one.
        if parse(Presence, message.data).front != self._id and self._alone_since:
            await self._voice.say(message.reply, self._presence())

    def _presence(self) -> bytes:
        return Presence(
            front=self._id, host=socket.gethostname(), alone_seconds=self._alone_seconds
        ).encode()
