"""Slow callers of a runner as it is, with its real limit of time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from local_runner.http.protocol import HEAD_SECONDS
from scripts.runner_process import RunnerProcess
from tests.local_runner.served import Caller

HALF_SENT = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\n"


async def given_up(url: str, sent: bytes, dripping: bytes | None = None) -> tuple[bytes, float]:
    """The first line that a slow caller is told, and the seconds until the connection is closed."""
    address = httpx.URL(url)
    caller = Caller(*await asyncio.open_connection(address.host, address.port))
    begun = time.monotonic()
    caller.send(sent)
    drip = asyncio.create_task(caller.trickle(dripping, pause=0.5)) if dripping else None
    said = await caller.all_that_comes()
    taken = time.monotonic() - begun
    caller.writer.close()
    if drip is not None:
        await drip
    return said[: len(TIMED_OUT)], taken


async def test_a_runner_as_it_is_gives_up_slow_callers_after_10_seconds_and_serves_others(
    tmp_path: Path,
) -> None:
    with RunnerProcess(tmp_path, {"hello": "#!/bin/sh\n"}) as runner:
        silent = [given_up(runner.url, b"") for _ in range(20)]
        stopped = [given_up(runner.url, HALF_SENT) for _ in range(20)]
        dripping = [given_up(runner.url, HALF_SENT, b"x") for _ in range(20)]
        slow = asyncio.gather(*silent, *stopped, *dripping)
        while not slow.done():
            job = await asyncio.to_thread(runner.run, "hello")
            assert (job["status"], job["durationMs"] < 5000) == ("succeeded", True)
            await asyncio.sleep(0.2)
        callers = await slow

    said = [line for line, _ in callers]
    assert said[:40] == [b""] * 20 + [TIMED_OUT] * 20
    assert set(said[40:]) <= {TIMED_OUT, b""}
    assert all(HEAD_SECONDS - 0.5 < taken < HEAD_SECONDS + 5 for _, taken in callers)
