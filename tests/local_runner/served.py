"""A local runner in the process of the tests, and callers of it that send bytes as they like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local_runner.config import load
from local_runner.http import server
from local_runner.jobs.scheduler import Scheduler
from local_runner.storage.history import Store
from scripts.runner_process import RunnerProcess

ENOUGH = 20.0
"""Seconds within which a connection that is to be closed must be closed."""


@dataclass
class Caller:
    """A connection to the runner, as bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        """Send without waiting for anything."""
        self.writer.write(data)

    async def trickle(self, data: bytes, pause: float = 0.02) -> None:
        """Send byte by byte, again and again, until the runner takes no more."""
        with contextlib.suppress(ConnectionError):
            while not self.writer.is_closing():
                for byte in data:
                    self.writer.write(bytes([byte]))
                    await self.writer.drain()
                    await asyncio.sleep(pause)

    async def all_that_comes(self) -> bytes:
        """What the runner sends until it closes the connection."""
        async with asyncio.timeout(ENOUGH):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def response(self) -> tuple[int, bytes]:
        """The status and the body of one response on a connection that goes on."""
        async with asyncio.timeout(ENOUGH):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split()[1]), await self.reader.readexactly(length)


class Served:
    """A local runner in this process, so that its limits can be set for a test."""

    def __init__(self, port: int, connections: set[object]) -> None:
        self.port = port
        self.connections = connections
        self._callers: list[Caller] = []

    async def call(self, data: bytes = b"") -> Caller:
        """Connect, and send something."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**22))
        self._callers.append(caller)
        caller.send(data)
        return caller

    async def let_time_pass(self) -> None:
        """Wait as long as the runner waits for a caller that sends nothing."""
        silent = await self.call()
        assert await silent.all_that_comes() == b""

    async def all_closed(self) -> None:
        """Wait until the runner has no connection any more."""
        async with asyncio.timeout(ENOUGH):
            while self.connections:
                await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        """Close what is open."""
        for caller in self._callers:
            caller.writer.close()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, scripts: Mapping[str, str], token: str | None = None, **settings: object
) -> AsyncIterator[Served]:
    """Serve scripts until the block is left.

    Args:
        folder: An empty folder.
        scripts: The text of each script by its id.
        token: The token that every request must carry.
        settings: Keys of `runner` in config.json.
    """
    RunnerProcess(folder, scripts, runner={"killGraceSeconds": 0.2, **settings})
    config = load(folder / "config.json")
    listener = server.listen(config.server)
    store = Store(config.database)
    runner = Scheduler(config, store)
    uvicorn = server._Server(config, runner, token, listener)
    serve = asyncio.create_task(uvicorn.serve(sockets=[listener]))
    connections: set[object] = uvicorn.server_state.connections  # type: ignore[assignment]
    served = Served(listener.getsockname()[1], connections)
    try:
        yield served
    finally:
        served.hang_up()
        uvicorn.should_exit = True
        await serve
        await store.close()
