"""The scripts that run on other machines, as the front has them."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Literal

from local_runner.cluster.messages import AgentId, End, Output, Recorded
from local_runner.jobs.job import NO_EXIT_CODE
from local_runner.jobs.record import STREAMS, Status
from local_runner.processes.launcher import Detached, Exit, Launch


class RemoteProcess:
    """A script on another machine; see `launcher.Process`. It belongs to one event loop.

    Attributes:
        agent: Where it runs.
        logs: Where its output goes.
        wish: What the agent is told until the end is here, or None.
        serial: The number of the last hello that its agent said before it knew of the job.
        on_end: Called when there is nothing to wait for any more.
        keeps_time: True; its agent ends it when its time limit is over.
    """

    keeps_time = True

    def __init__(
        self, launch: Launch, agent: AgentId, told: Callable[[RemoteProcess], None]
    ) -> None:
        """Take over the logs.

        Args:
            launch: Which script it is.
            agent: Where it runs.
            told: Called when there is a wish.
        """
        self.job_id = launch.job_id
        self.agent = agent
        self.serial = 0
        self.wish: Literal["end", "kill"] | None = None
        self.on_end: Callable[[], object] = lambda: None
        self._told = told
        self.logs = launch.logs
        # A log that is gone on with has what was written before; the agent has the rest.
        self._received = {stream: log.size for stream, log in self.logs.streams.items()}
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    # -- for the job

    async def wait(self) -> Exit:
        """Wait for its end; see `Process.wait`."""
        return await self._end

    def terminate(self) -> bool:
        """Have its agent end it; False if its end is known."""
        if self._end.done():
            return False
        self._want("end")
        return True

    def kill(self) -> None:
        """Have its agent end it by force."""
        self._want("kill")

    def abandon(self) -> None:
        """Have its agent end it by force; its end is not waited for."""
        self._want("kill")

    def _want(self, wish: Literal["end", "kill"]) -> None:
        if not self._end.done() and self.wish != "kill":
            self.wish = wish
            self._told(self)

    # -- for the front

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._end.done()

    def take(self, output: Output, data: bytes) -> int:
        """Take a part of the output, if it is the next one.

        Returns:
            The offset to go on with.
        """
        received = self._received[output.stream]
        if received < (output.offset if output.over is None else output.over):
            return received
        writer = self.logs.streams[output.stream]
        new = data[max(0, received - output.offset) :]
        if output.over is not None:
            if output.offset + len(data) > received or not writer.truncated:
                writer.drop(new)
        elif new and not self._end.done():
            self.logs.write(output.stream, new)
        self._received[output.stream] = max(received, output.offset + len(data))
        return self._received[output.stream]

    def finish(self, end: End) -> Recorded:
        """Take the end, if all of the output is here."""
        stdout, stderr = (self._received[stream] for stream in STREAMS)
        if stdout < end.stdout_bytes or stderr < end.stderr_bytes:
            return Recorded(ok=False, stdout_next=stdout, stderr_next=stderr)
        self._settle(Exit(end.code, end.status, end.failure, end.duration_ms))
        return Recorded(ok=True)

    def lose(self, reason: str) -> None:
        """Have it end because nobody will tell of its end."""
        self._settle(Exit(NO_EXIT_CODE, Status.FAILED, reason))

    def detach(self) -> None:
        """Leave it alone."""
        if not self._end.done():
            self._end.set_exception(Detached())
            self.on_end()

    def _settle(self, ended: Exit) -> None:
        if not self._end.done():
            self._end.set_result(ended)
            self.on_end()


class Remotes:
    """All scripts that run on other machines."""

    def __init__(self) -> None:
        """Begin without any."""
        self._processes: dict[str, RemoteProcess] = {}
        # By their agents, because each agent is compared each second with what runs there.
        self._running: defaultdict[AgentId, dict[str, RemoteProcess]] = defaultdict(dict)

    def __iter__(self) -> Iterator[RemoteProcess]:
        """Those that have not ended."""
        return iter([process for running in self._running.values() for process in running.values()])

    def add(self, process: RemoteProcess) -> None:
        """Take one."""
        self._processes[process.job_id] = process
        self._running[process.agent][process.job_id] = process
        process.on_end = functools.partial(self._note_end, process)

    def _note_end(self, process: RemoteProcess) -> None:
        running = self._running[process.agent]
        running.pop(process.job_id, None)
        if not running:
            del self._running[process.agent]

    def find(self, agent: AgentId, job_id: str) -> RemoteProcess | None:
        """The script of a job, if it runs on that agent."""
        process = self._processes.get(job_id)
        return process if process is not None and process.agent == agent else None

    def of(self, agent: AgentId) -> list[RemoteProcess]:
        """Those that run on an agent."""
        return list(self._running.get(agent, {}).values())

    def busy(self) -> Counter[AgentId]:
        """How many run on each agent."""
        return Counter({agent: len(running) for agent, running in self._running.items()})

    def lose_all(self, agent: AgentId, reason: str) -> int:
        """Have all of an agent end; returns how many."""
        lost = self.of(agent)
        for process in lost:
            process.lose(reason)
        return len(lost)

    def forget(self, is_over: Callable[[str], bool]) -> None:
        """Forget those that have ended and whose jobs are over."""
        for job_id, process in list(self._processes.items()):
            if process.has_ended and is_over(job_id):
                del self._processes[job_id]
