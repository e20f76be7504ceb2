"""One job on an agent: asked for, run, its output and its end handed in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from local_runner import log
from local_runner.cluster.config import AgentConfig
from local_runner.cluster.keeping import Keeping
from local_runner.cluster.lease import Lease
from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.messages import (
    AgentId,
    End,
    Loss,
    Order,
    Permit,
    Recorded,
    front_subject,
    parse,
)
from local_runner.cluster.sending import StreamSender
from local_runner.cluster.spool import Spool
from local_runner.config import RunnerConfig, ScriptConfig
from local_runner.jobs.allowlist import Allowlist, Refused
from local_runner.jobs.job import NO_EXIT_CODE, EndedBy, LiveJob, now_ms
from local_runner.jobs.record import JobRecord, Status, Stream
from local_runner.processes.launcher import Launch
from local_runner.processes.local import SIGNAL_EXIT_CODE_BASE, LocalLauncher, ScriptProcess
from local_runner.processes.shortage import OutOfResources
from local_runner.storage.disk import Disk

RESPONSE_SECONDS = 3.0
RETRY_SECONDS = 0.5

SHORTAGE_SECONDS = 1.0
"""How long to wait before starting a script again for which the system had no room."""


class Host(Protocol):
    """What a job needs of its agent."""

    id: AgentId
    config: AgentConfig
    link: Link
    lease: Lease
    keeping: Keeping
    launcher: LocalLauncher
    disk: Disk
    spool: Spool
    allowlist: Allowlist

    @property
    def serial(self) -> int:
        """The number of its last hello."""

    def now(self) -> float:
        """The time of the lease."""

    def take_lease(self, seconds: float, replicas: int) -> None:
        """Keep a lease as the front has said."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """Do some work that may be done after the end of a job."""


class AgentJob:
    """One job on an agent, from its offer until its end is on record.

    Attributes:
        is_asking: Whether it waits for its permit.
        takes_slot: Whether its script runs or may run still. The front gives the slot away as soon
            as the end is on record, which is before this agent hears so.
    """

    def __init__(self, host: Host, job_id: str) -> None:
        """Prepare; `live` does it all."""
        self.is_asking = True
        self.takes_slot = True
        self._host = host
        self._job_id = job_id
        self._permit = Permit(job_id=job_id, serial=host.serial)
        self._job: LiveJob | None = None
        self._lost: str | None = None
        self._told: EndedBy | None = None
        self._dropped = asyncio.Event()

    async def live(self) -> None:
        """Ask for the permit, run the script, hand in what comes of it."""
        order = await self._ask()
        if not order.go:
            return
        self._host.take_lease(order.lease_seconds, order.replicas)
        self.is_asking = False
        handing_in = asyncio.create_task(self._carry_out(order))
        dropping = asyncio.create_task(self._dropped.wait())
        await asyncio.wait([handing_in, dropping], return_when=asyncio.FIRST_COMPLETED)
        dropping.cancel()
        if not handing_in.done() and self._job is not None:
            await self._job.settled.wait()
            handing_in.cancel()
        await asyncio.wait([handing_in])
        await self._host.disk.run(lambda: self._host.spool.release(self._job_id))
        if not handing_in.cancelled():
            handing_in.result()

    def end(self, ended_by: EndedBy) -> None:
        """Tell the script to end."""
        self._told = self._told or ended_by
        if self._job is not None:
            self._job.end_process(ended_by)

    def kill(self) -> None:
        """End the script by force."""
        self.end(Status.CANCELED)
        if self._job is not None:
            self._job.kill()

    def drop(self) -> None:
        """End the script by force and say no more of it: the front does not know it."""
        log.event("dropped", job_id=self._job_id, message="the front does not count it as running")
        self.kill()
        self._dropped.set()

    def lose(self, reason: str) -> None:
        """End the script because the front may have given it up by now."""
        if self._lost is None and self._job is not None and not self._job.settled.is_set():
            self._lost = reason
            self._job.end_process(Status.CANCELED)

    async def _ask(self) -> Order:
        """Ask until there is a response: the front may have it on record already."""
        subject = front_subject(self._host.id, "permit")
        while True:
            try:
                data = await self._host.link.request(
                    subject, self._permit.encode(), RESPONSE_SECONDS
                )
            except BrokerAway:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return parse(Order, data)

    # -- running

    async def _carry_out(self, order: Order) -> None:
        if left := await self._run(order):
            self.takes_slot = False
            await self._hand_in(*left)

    async def _run(self, order: Order) -> tuple[End, list[StreamSender]] | None:
        """Run the script; returns what is to be handed in, None if it has been."""
        try:
            await self._host.allowlist.refresh()
            script, args = self._host.allowlist.check(order.script_id, list(order.args))
        except Refused as refusal:
            return self._not_started(f"{self._host.id.name} does not run it: {refusal}"), []
        lease = self._host.lease.remaining(self._host.now())
        if lease <= 0:
            return self._not_started(f"{self._host.id.name} had lost the broker"), []
        limits = _limits(self._host.config, order)
        job = self._job = LiveJob(_record(self._job_id, order, args), _timed(script, order))
        job.on_loss = lambda _, stream: self._host.spawn(self._say_loss(stream))
        launcher = _Launcher(self._host, self._job_id)
        try:
            await self._host.disk.run(lambda: self._host.spool.claim(self._job_id))
        except OSError as error:
            where = f"the spool of {self._host.id.name} cannot be written"
            return self._not_started(f"{where}: {error.strerror}"), []
        self._host.keeping.will_run(self._job_id, order.kill_grace_seconds, lease)
        sending: list[asyncio.Task[None]] = []
        try:
            await self._start(job, limits, launcher)
            sending = [asyncio.create_task(sender.run()) for sender in launcher.senders]
            await job.run()
            job.settled.set()
            self._host.keeping.has_ended(self._job_id)
            log.job_end(job.record)
            for sender in launcher.senders:
                sender.end()
                await sender.all_sent.wait()
            self.takes_slot = False
            # Said right behind the output, before it is known that this has arrived: mostly it has.
            if not any(sender.failed for sender in launcher.senders):
                recorded = await self._say_end(self._ended(job, launcher))
                if recorded.ok:
                    return None
            for lost in await asyncio.gather(*sending, return_exceptions=True):
                if lost is not None:
                    job.failure = f"its output was lost on {self._host.id.name}: {lost}"
        finally:
            self._host.keeping.has_ended(self._job_id)
            for task in sending:
                task.cancel()
        return self._ended(job, launcher), launcher.senders

    async def _start(self, job: LiveJob, limits: RunnerConfig, launcher: _Launcher) -> None:
        while True:
            if self._told is not None:
                job.end_process(self._told)
            try:
                job.start(limits, launcher, self._host.disk)
            except OutOfResources as shortage:
                log.event("error", message=f"{self._job_id} has to wait: {shortage}")
                await asyncio.sleep(SHORTAGE_SECONDS)
            else:
                return

    def _not_started(self, reason: str) -> End:
        return End(
            job_id=self._job_id,
            status=Status.FAILED,
            code=NO_EXIT_CODE,
            failure=f"the script was not started: {reason}",
            duration_ms=0,
            stdout_bytes=0,
            stderr_bytes=0,
        )

    def _ended(self, job: LiveJob, launcher: _Launcher) -> End:
        record = job.record
        status, code, failure = record.status, record.code, job.failure
        frozen = (
            self._host.lease.remaining(self._host.now()) <= 0
            and (code or 0) > SIGNAL_EXIT_CODE_BASE
        )
        if self._lost is not None and record.status == Status.CANCELED:
            status, code, failure = Status.FAILED, NO_EXIT_CODE, self._lost
        elif frozen:
            status, code, failure = Status.FAILED, NO_EXIT_CODE, "its agent was frozen"
        return End(
            job_id=self._job_id,
            status=status,
            code=NO_EXIT_CODE if code is None else code,
            failure=failure,
            duration_ms=record.duration_ms or 0,
            stdout_bytes=launcher.printed("stdout"),
            stderr_bytes=launcher.printed("stderr"),
        )

    async def _say_loss(self, stream: Stream) -> None:
        subject = front_subject(self._host.id, "loss")
        loss = Loss(job_id=self._job_id, stream=stream)
        while True:
            with contextlib.suppress(BrokerAway):
                await self._host.link.request(subject, loss.encode(), RESPONSE_SECONDS)
                return
            await asyncio.sleep(RETRY_SECONDS)

    # -- handing in

    async def _hand_in(self, end: End, senders: list[StreamSender]) -> None:
        while not (recorded := await self._say_end(end)).ok:
            offsets = recorded.stdout_next, recorded.stderr_next
            for sender, offset in zip(senders, offsets, strict=True):
                sender.back_to(offset)
                await sender.run()

    async def _say_end(self, end: End) -> Recorded:
        """Say the end until there is a response."""
        subject = front_subject(self._host.id, "end")
        while True:
            try:
                data = await self._host.link.request(subject, end.encode(), RESPONSE_SECONDS)
            except BrokerAway:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return parse(Recorded, data)


class _Launcher:
    """The local launcher, with a keeper that knows, and senders of what the script prints."""

    def __init__(self, host: Host, job_id: str) -> None:
        self._host = host
        self._job_id = job_id
        self.senders: list[StreamSender] = []

    def printed(self, stream: Stream) -> int:
        """How many bytes of a stream the front must have had."""
        return sum(sender.total for sender in self.senders if sender.stream == stream)

    def start(self, launch: Launch) -> ScriptProcess:
        """Start a script; see `Launcher.start`."""
        host = self._host
        self.senders = [
            StreamSender(host.link, host.id, self._job_id, stream, writer, host.disk)
            for stream, writer in launch.logs.streams.items()
        ]
        process = host.launcher.start(launch)
        self._host.keeping.runs(self._job_id, process.pid)
        return process


def _record(job_id: str, order: Order, args: list[str]) -> JobRecord:
    now = now_ms()
    return JobRecord(0, job_id, order.script_id, args, "async", Status.RUNNING, now, None, now)


def _timed(script: ScriptConfig, order: Order) -> ScriptConfig:
    """The script with the shorter of the time limits here and at the front."""
    limits = [limit for limit in (script.timeout_sec, order.timeout_seconds) if limit]
    return script.model_copy(update={"timeout_sec": min(limits, default=0)})


def _limits(config: AgentConfig, order: Order) -> RunnerConfig:
    return RunnerConfig.model_construct(
        max_log_bytes_per_stream=order.log_bytes,
        preview_max_bytes=order.preview_bytes,
        logs_dir=str(Path(config.spool_dir)),
        kill_grace_seconds=order.kill_grace_seconds,
    )
