"""The connection to the broker, and two fronts on one, where no broker is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from local_runner import log
from local_runner.cluster import link
from local_runner.cluster.broker import broker
from local_runner.cluster.front import Front
from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.majority import MINORITY_SECONDS, PATIENT_SECONDS, Majority
from local_runner.cluster.reminder import REMIND_SECONDS
from local_runner.config import load
from local_runner.tasks import cancel
from scripts.cluster_processes import Broker

SOON_SECONDS = 60.0
"""Where what is wrong lasts for ever."""


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


async def test_brokers_are_tried_in_turn_also_those_that_take_a_connection_and_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.01)
    visits: list[int] = []

    async with contextlib.AsyncExitStack() as stack:
        urls = [stack.enter_context(Broker(tmp_path / "broker")).url]
        for number in range(2):

            async def be_silent(
                _: asyncio.StreamReader, visitor: asyncio.StreamWriter, number: int = number
            ) -> None:
                visits.append(number)
                stack.callback(visitor.close)

            server = await asyncio.start_server(be_silent, "127.0.0.1", 0)
            stack.callback(server.close)
            urls.append(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        one = Link(broker(tuple(urls), None, "x"), "x", asyncio.get_running_loop().time)
        running = asyncio.create_task(one.run())
        while len(visits) < 6:
            await asyncio.wait_for(one.connected.wait(), SOON_SECONDS)
            await one._connection().close()
            while one.connected.is_set():
                await asyncio.sleep(0.01)
        await cancel([running])

    assert visits == [visits[0], visits[1]] * 3 + visits[6:]
    assert visits[0] != visits[1]


async def test_nobody_waits_for_a_frozen_broker_that_takes_no_more(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        frozen = stack.enter_context(Broker(tmp_path / "broker"))
        one = Link(broker((frozen.url,), None, "x"), "x", asyncio.get_running_loop().time)
        running = asyncio.create_task(one.run())
        await asyncio.wait_for(one.connected.wait(), SOON_SECONDS)

        os.kill(frozen.pid, signal.SIGSTOP)
        asking = [one.request("any", bytes(1_000_000), 5) for _ in range(40)]
        async with asyncio.timeout(SOON_SECONDS):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {BrokerAway}
            while one._closing:
                await asyncio.sleep(0.1)

        os.kill(frozen.pid, signal.SIGCONT)
        await asyncio.wait_for(one.connected.wait(), SOON_SECONDS)
        await cancel([running])


def test_a_broker_is_left_if_the_majority_lacks_what_is_sent_to_it() -> None:
    majority, now = Majority(3), 100.0
    majority.connected(now)
    waits = []
    for _ in range(20):
        begun = now
        while majority.leaving is None:
            now += 1
            majority.note("timeout", now)
        waits.append(now - begun)
        majority.connected(now)

    assert waits[:7] == [MINORITY_SECONDS] * 3 + [2 * MINORITY_SECONDS] * 3 + [4 * MINORITY_SECONDS]
    assert max(waits) == PATIENT_SECONDS
    assert majority.lacking_seconds(now) == now - 100
    majority.note(None, now)
    majority.note("timeout", now + MINORITY_SECONDS)
    assert majority.leaving
    majority.note(None, now + MINORITY_SECONDS)
    assert majority.leaving is None


def test_the_only_broker_is_not_left() -> None:
    majority = Majority(1)
    majority.note("timeout", 1000)
    assert majority.leaving is None


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
