"""A stream of a script on its way from an agent to the front.

It is sent by offset, several parts at a time, and the response to each part is the offset that the
front has come to. Whatever is lost on the way, there or at the front, is sent again from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Collection
from pathlib import Path

from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.messages import AgentId, Output, Received, output_subject, parse
from local_runner.jobs.record import Stream
from local_runner.storage.disk import Disk
from local_runner.storage.job_logs import LogWriter

PART_BYTES = 256 * 1024
"""The most bytes of one message; brokers take 1 MiB by default. Half of it would cost a quarter
more of the processors' time, twice as much would hardly save any."""

PARTS_UNDER_WAY = 4
"""How many parts of a stream may wait for their response: a megabyte covers milliseconds at any
speed that a front can take."""

RESPONSE_SECONDS = 5.0
RETRY_SECONDS = 0.5


class StreamSender:
    """Sends one stream.

    Attributes:
        stream: Which one.
        failed: Whether it cannot be read any more.
        all_sent: Set when all has been sent, which may be lost still, or `run` has ended.
    """

    def __init__(
        self,
        link: Link,
        agent: AgentId,
        job_id: str,
        stream: Stream,
        writer: LogWriter,
        disk: Disk,
    ) -> None:
        """Prepare.

        Args:
            link: The way to the front.
            agent: Where the script runs.
            job_id: Which job it is.
            stream: Which stream.
            writer: What the script has printed.
            disk: What reads it.
        """
        self._link = link
        self._agent, self._job_id, self.stream = agent, job_id, stream
        self._writer, self._disk = writer, disk
        self._more = asyncio.Event()
        self._ended = False
        self._arrived = 0
        self.failed = False
        self.all_sent = asyncio.Event()
        writer.on_written = self._more.set

    @property
    def total(self) -> int:
        """How many bytes there will be in all; those that have arrived if it has failed."""
        return self._arrived if self.failed else self._writer.printed

    def end(self) -> None:
        """Note that there will be no more."""
        self._ended = True
        self._more.set()

    def back_to(self, offset: int) -> None:
        """Send again from an offset on: the front has no more than that."""
        self._arrived = min(offset, self._arrived)

    async def run(self) -> None:
        """Send what there is, as it comes, until `end` was called and all has arrived.

        A short output that is there when `end` is called has only been sent, see `all_sent`.
        """
        try:
            if self.all_sent.is_set() or not await self._send_at_once():
                await self._send_log()
                await self._send_tail()
        finally:
            self.all_sent.set()

    async def _send_at_once(self) -> bool:
        """Send all there is in one part if it is short, without a response.

        Whether it has arrived shows at the end of the job; if it has not, `run` is called again.
        """
        while not self._ended and not self._writer.file.size:
            self._more.clear()
            await self._more.wait()
        size = self._writer.file.size
        if not self._ended or size != self._writer.printed or size > PART_BYTES:
            return False
        if size:
            subject = output_subject(self._agent, Output(self._job_id, self.stream, 0, None))
            with contextlib.suppress(BrokerAway):
                await self._link.publish(subject, await self._read(0))
        return True

    async def _send_log(self) -> None:
        under_way: deque[tuple[int, asyncio.Task[int]]] = deque()
        sent = self._arrived
        try:
            while True:
                while len(under_way) < PARTS_UNDER_WAY and self._is_worth_sending(sent, under_way):
                    data = await self._read(sent)
                    sent += len(data)
                    sending = asyncio.create_task(self._send(sent - len(data), data))
                    under_way.append((sent, sending))
                if self._ended and sent == self._writer.printed:
                    self.all_sent.set()
                if under_way:
                    expected, sending = under_way.popleft()
                    self._arrived = await sending
                    if self._arrived != expected:
                        for _, later in under_way:
                            later.cancel()
                        under_way.clear()
                        sent = self._arrived
                elif self._ended and sent >= self._writer.file.size:
                    break
                else:
                    self._more.clear()
                    if not self._ended and sent >= self._writer.file.size:
                        await self._more.wait()
        finally:
            for _, later in under_way:
                later.cancel()

    def _is_worth_sending(self, sent: int, under_way: Collection[object]) -> bool:
        """Whether to send what there is now: a small part waits for those under way to arrive."""
        there = self._writer.file.size - sent
        return there >= PART_BYTES or (there > 0 and (self._ended or not under_way))

    async def _send_tail(self) -> None:
        """Send the end of what the log has no room for, for the preview."""
        total, size = self._writer.printed, self._writer.size
        tail = self._writer.tail[-(total - size) :] if total > size else b""
        offset = total - len(tail)
        while self._arrived < total:
            start = max(0, self._arrived - offset)
            part = tail[start : start + PART_BYTES]
            self._arrived = await self._send(offset + start, part, size)
            if self._arrived < size:
                return  # the front has lost what it had: it will say so at the end

    async def _send(self, offset: int, data: bytes, over: int | None = None) -> int:
        output = Output(self._job_id, self.stream, offset, over)
        subject = output_subject(self._agent, output)
        while True:
            try:
                response = await self._link.request(subject, data, RESPONSE_SECONDS)
            except BrokerAway:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return parse(Received, response).next

    async def _read(self, offset: int) -> bytes:
        size = self._writer.file.size
        if size == self._writer.printed and size - offset <= len(tail := self._writer.tail):
            return tail[offset - size :][:PART_BYTES]
        path = self._writer.file.path
        try:
            return await self._disk.run(lambda: _read(path, offset))
        except (OSError, EOFError):
            self.failed = True
            raise


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), PART_BYTES, offset)
    if not data:
        raise EOFError(f"{path.name} was cut short")
    return data
