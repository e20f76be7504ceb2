"""An agent: takes jobs while it has free slots, runs them, says each second that it is there."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from local_runner import log
from local_runner.cluster import farewell
from local_runner.cluster.broker import Broker
from local_runner.cluster.catalog import catalog_of
from local_runner.cluster.config import AgentConfig
from local_runner.cluster.keeper import clock
from local_runner.cluster.keeping import Keeping
from local_runner.cluster.lease import Lease
from local_runner.cluster.link import Link
from local_runner.cluster.messages import (
    PROTOCOL,
    AgentId,
    Hello,
    MalformedMessage,
    Tell,
    agent_subject,
    front_subject,
    parse,
)
from local_runner.cluster.quorum import refused
from local_runner.cluster.run import AgentJob
from local_runner.cluster.spool import Spool
from local_runner.jobs.allowlist import Allowlist
from local_runner.jobs.record import Status
from local_runner.processes.given import Given
from local_runner.processes.local import LocalLauncher
from local_runner.storage.disk import Disk
from local_runner.tasks import Tasks

LEASE_CHECK_SECONDS = 0.25

LOOK_AGAIN_SECONDS = 5.0
"""How often the scripts are checked for a change."""

LEFT_BEHIND_GRACE_SECONDS = 5.0
"""From SIGTERM to SIGKILL of what an agent left behind that was killed with its keeper."""

AFTER_LEASE_SECONDS = 1.0
"""How much longer than the grace the keeper gives an agent that ends its scripts itself."""

AWAY = "the broker was away"


class Agent:
    """One agent, from its start to its end. It belongs to one event loop."""

    def __init__(
        self,
        config: AgentConfig,
        path: Path,
        broker: Broker,
        given: Given,
    ) -> None:
        """Prepare.

        Args:
            config: What it is called, how much it takes.
            path: Where that was read from, for the keeper.
            broker: Where the front is reached.
            given: What scripts get from whoever started the agent.
        """
        self.id = AgentId.new(config.agent_name)
        self.config = config
        self.lease = Lease(self.now())
        self.serial = 0
        self.spool = Spool(Path(config.spool_dir))
        self.link = Link(broker, f"agent {self.id}", clock)
        self.keeping = Keeping(self.id, path)
        self.disk = Disk()
        self.launcher = LocalLauncher(given, self.disk)
        self.allowlist = Allowlist(config)
        self._catalog = catalog_of(config.labels, config.scripts)
        self._replicas = 1
        self._jobs: dict[str, AgentJob] = {}
        self._tasks = Tasks()
        self._stopped = 0
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._lease_lost = False
        self._silence = AWAY

    def now(self) -> float:
        """The time of the lease."""
        return clock()

    def take_lease(self, seconds: float, replicas: int) -> None:
        """Keep a lease as the front has said."""
        self.lease.seconds, self._replicas = seconds, replicas

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """Do some work, until the agent stops."""
        return self._tasks.spawn(work)

    async def run(self) -> None:
        """Run until told to stop by SIGTERM, SIGINT or SIGHUP.

        Raises:
            BrokerRefuses: If the broker does not let the agent in.
        """
        self.link.handlers = {agent_subject(self.id): self._told}
        self.link.before_beat = self._say_hello
        self.link.on_beat = self._heard
        self._stop_asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop, number)
        self.link.on_connect = self._connected
        ended = await self.disk.run(lambda: self.spool.clear(LEFT_BEHIND_GRACE_SECONDS))
        if ended:
            log.event("recovered", processes_ended=ended)
        self._speak_for(await self.disk.run(lambda: self.spool.take_over(str(self.id))))
        works = [self.link.run(), self._watch_lease(), self._look_again(), self._until_stopped()]
        tasks = [self._tasks.spawn(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await self._tasks.cancel()
            self.keeping.close()
            self.launcher.close()
        log.event("stopped")

    def _speak_for(self, predecessor: str) -> None:
        """Tell the front that the agent which had the folder before, and its scripts, are dead."""
        with contextlib.suppress(MalformedMessage):
            agent = AgentId.parse(predecessor)
            if agent.name == self.id.name:
                reason = f"{agent.name} was started again"
                self._tasks.spawn(farewell.say(self.link, agent, reason))

    async def _connected(self, _: Client) -> None:
        log.event("connected", agent=self.id.name, slots=self.config.slots)

    async def _look_again(self) -> None:
        """Note changes of the scripts."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            await self.allowlist.refresh()
            self._catalog = await self.disk.run(
                lambda: catalog_of(self.config.labels, self.allowlist.scripts)
            )

    # -- stopping

    def _stop(self, number: signal.Signals) -> None:
        self._stopped += 1
        if self._stopped == 1:
            left = len(self._jobs)
            message = f"{left} scripts may end first; a second signal ends them" if left else None
            log.event("stopping", signal=number.name, **({"message": message} if message else {}))
        else:
            for job in self._jobs.values():
                job.end(Status.CANCELED)
        self._stop_asked.set()

    async def _until_stopped(self) -> None:
        await self._stop_asked.wait()
        await self._all_ended.wait()
        try:
            async with asyncio.timeout(farewell.SECONDS):
                await farewell.say(self.link, self.id, "the agent was stopped")
        except TimeoutError:
            pass  # the front finds out by itself

    # -- the lease

    async def _say_hello(self, asked: float) -> None:
        self.serial += 1
        jobs = self._jobs.items()
        hello = Hello(
            protocol=PROTOCOL,
            serial=self.serial,
            slots=self.config.slots,
            catalog=self._catalog.digest,
            asking=tuple(job_id for job_id, job in jobs if job.is_asking),
            running=tuple(job_id for job_id, job in jobs if not job.is_asking),
            draining=self._stopped > 0,
            lease_seconds=self.lease.seconds,
        ).encode()
        subject = front_subject(self.id, "hello")
        if self._replicas == 1:
            await self.link.publish(subject, hello)
        else:
            self._tasks.spawn(self._renew(subject, hello, asked))

    async def _renew(self, subject: str, hello: bytes, asked: float) -> None:
        if reason := await refused(self.link, subject, hello):
            self._silence = f"the brokers did not renew the lease: {reason}"
        else:
            self._silence = AWAY
            self.lease.heard(asked)

    async def _heard(self, asked: float) -> None:
        if self._replicas == 1:
            self.lease.heard(asked)

    async def _watch_lease(self) -> None:
        """End the scripts when the lease is over; tell the keeper that somebody sees to it."""
        while True:
            running = [job for job in self._jobs.values() if not job.is_asking]
            remaining = self.lease.remaining(self.now())
            if running:
                self._end_in_time(running, remaining)
            self._lease_lost = remaining <= 0
            await asyncio.sleep(LEASE_CHECK_SECONDS)

    def _end_in_time(self, running: list[AgentJob], remaining: float) -> None:
        if remaining > 0:
            self.keeping.alive(remaining)
        elif not self._lease_lost:
            why = f"for {self.lease.seconds:g} s {self._silence}"
            log.event("lease", message=f"all scripts are ended: {why}")
            self.keeping.alive(self.keeping.last_chance() + AFTER_LEASE_SECONDS)
            for job in running:
                job.lose(f"{self.id.name} ended the script: {why}")

    # -- what the front says

    async def _told(self, message: Msg) -> None:
        tell = parse(Tell, message.data)
        job = self._jobs.get(tell.job_id or "")
        match tell.what:
            case "offer" if tell.job_id is not None:
                self._take(tell.job_id)
            case "lease":
                self.take_lease(tell.lease_seconds, tell.replicas)
            case "describe":
                catalog = self._catalog.encode()
                await self.link.publish(front_subject(self.id, "catalog"), catalog)
            case "end" if job is not None:
                job.end(Status.CANCELED)
            case "kill" if job is not None:
                job.kill()
            case "drop" if job is not None:
                job.drop()

    def _take(self, job_id: str) -> None:
        taken = sum(job.takes_slot for job in self._jobs.values())
        if self._stopped or job_id in self._jobs or taken >= self.config.slots:
            return
        if self.lease.seconds and self.lease.remaining(self.now()) <= 0:
            return  # its script could not be started
        job = self._jobs[job_id] = AgentJob(self, job_id)
        self._all_ended.clear()
        self._tasks.spawn(self._live(job_id, job))

    async def _live(self, job_id: str, job: AgentJob) -> None:
        try:
            await job.live()
        except Exception:
            log.failure(f"{job_id} failed in the agent")
        finally:
            del self._jobs[job_id]
            if not self._jobs:
                self._all_ended.set()
