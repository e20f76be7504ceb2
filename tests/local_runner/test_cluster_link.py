"""The connection to the broker, and two fronts on one, where no broker is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from local_runner import log
from local_runner.cluster import link
from local_runner.cluster.broker import broker
from local_runner.cluster.front import Front
from local_runner.cluster.link import Link
from local_runner.cluster.reminder import REMIND_SECONDS
from local_runner.config import load
from local_runner.tasks import cancel


async def test_that_the_broker_is_away_is_said_once_a_minute_however_often_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "event", lambda _, message: said.append(message))
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.01)
    now, tries = 1000.0, asyncio.Semaphore(0)

    async def refuse(_: asyncio.StreamReader, visitor: asyncio.StreamWriter) -> None:
        visitor.close()
        tries.release()

    async def tried_several_times() -> None:
        for _ in range(5):
            await asyncio.wait_for(tries.acquire(), 30)

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        trying = asyncio.create_task(Link(broker((url,), None, "x"), "x", lambda: now).run())
        await tried_several_times()
        assert len(said) == 1
        now += REMIND_SECONDS - 1
        await tried_several_times()
        assert len(said) == 1
        now += 1
        await tried_several_times()
        assert len(said) == 2
        now += 10 * REMIND_SECONDS
        await tried_several_times()
        assert len(said) == 3
        await cancel([trying])

    assert REMIND_SECONDS == 60
    assert {message.partition(":")[0] for message in said} == {"the broker is away, trying again"}


async def test_of_two_fronts_that_began_at_once_one_gives_way_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    scripts = [{"id": "any", "path": "/bin/true"}]
    path.write_text(json.dumps({"cluster": {"nats": ["nats://127.0.0.1:1"]}, "scripts": scripts}))
    one, other = (Front(load(path), scripts_go_on=True) for _ in range(2))
    since = asyncio.get_running_loop().time() - 5
    for front, rival in ((one, other), (other, one)):
        front._alone_since = since

        async def respond(*_: object, rival: Front = rival) -> bytes:
            said = rival._presence()
            await asyncio.sleep(0.01)  # the way back
            return said

        monkeypatch.setattr(front._link, "request", respond)

    found = await asyncio.gather(one._rival(), other._rival())

    assert any(found)
