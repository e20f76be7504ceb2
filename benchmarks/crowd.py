"""Many agents in one process, which run no scripts: to a front and a broker they are like any.

Run as `python -m benchmarks.crowd URL COUNT SLOTS`. Each agent has a connection of its own, says
hello each second and asks for what it is offered. A job of the script `quick` ends at once, with a
line of output; all others run until they are told to end.
"""

from __future__ import annotations

import asyncio
import sys

from nats.aio.msg import Msg

from local_runner.cluster.broker import broker
from local_runner.cluster.link import Link
from local_runner.cluster.messages import (
    PROTOCOL,
    AgentId,
    Catalog,
    End,
    Hello,
    Order,
    Output,
    Permit,
    Tell,
    Topic,
    agent_inbox,
    agent_subject,
    front_subject,
    output_subject,
    parse,
)
from local_runner.jobs.record import Status

SCRIPTS = ("quick", "endless")
LINE = b"done\n"
RESPONSE_SECONDS = 30.0
START_SECONDS = 0.01
"""Between the starts of two agents, so that their hellos are spread over a second."""


class Agent:
    """One of them."""

    def __init__(self, url: str, number: int, slots: int) -> None:
        """Prepare; `run` does all."""
        self._id = AgentId.new(f"agent-{number}")
        self._slots = slots
        self._catalog = Catalog(host="crowd", labels=(), scripts=dict.fromkeys(SCRIPTS, ""))
        self._running: set[str] = set()
        self._lease, self._serial = 0.0, 0
        where = broker((url,), None, agent_inbox(self._id.name))
        self._link = Link(where, str(self._id), asyncio.get_running_loop().time)
        self._link.handlers = {agent_subject(self._id): self._told}
        self._link.before_beat = self._say_hello
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on until this is cancelled."""
        await self._link.run()

    async def _say_hello(self, _: float) -> None:
        self._serial += 1
        hello = Hello(
            protocol=PROTOCOL,
            serial=self._serial,
            slots=self._slots,
            catalog=self._catalog.digest,
            running=tuple(self._running),
            lease_seconds=self._lease,
        )
        await self._link.publish(front_subject(self._id, "hello"), hello.encode())

    async def _told(self, message: Msg) -> None:
        tell = parse(Tell, message.data)
        match tell.what, tell.job_id:
            case "lease", _:
                self._lease = tell.lease_seconds
            case "describe", _:
                catalog = self._catalog.encode()
                await self._link.publish(front_subject(self._id, "catalog"), catalog)
            case "offer", str(job_id):
                task = asyncio.create_task(self._live(job_id))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case _, str(job_id) if job_id in self._running:
                await self._end(job_id, Status.CANCELED, 0)

    async def _live(self, job_id: str) -> None:
        permit = Permit(job_id=job_id, serial=self._serial)
        order = parse(Order, await self._ask("permit", permit.encode()))
        if order.go:
            self._running.add(job_id)
            if order.script_id == "quick":
                subject = output_subject(self._id, Output(job_id, "stdout", 0, None))
                await self._link.request(subject, LINE, RESPONSE_SECONDS)
                await self._end(job_id, Status.SUCCEEDED, len(LINE))

    async def _end(self, job_id: str, status: Status, printed: int) -> None:
        end = End(
            job_id=job_id,
            status=status,
            code=0,
            duration_ms=0,
            stdout_bytes=printed,
            stderr_bytes=0,
        )
        await self._ask("end", end.encode())
        self._running.discard(job_id)

    async def _ask(self, topic: Topic, data: bytes) -> bytes:
        return await self._link.request(front_subject(self._id, topic), data, RESPONSE_SECONDS)


async def main(url: str, count: int, slots: int) -> None:
    """Run so many agents until the process is ended."""
    running = []
    for number in range(count):
        running.append(asyncio.create_task(Agent(url, number, slots).run()))
        await asyncio.sleep(START_SECONDS)
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
