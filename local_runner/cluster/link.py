"""The connection to the broker: made, watched, made again.

The client's own reconnecting is not used. It waits, while it closes a connection whose peer has
vanished, for as long as the system tries to deliver what was sent last: a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from local_runner import log
from local_runner.cluster.broker import Broker, BrokerClient, BrokerRefuses
from local_runner.cluster.majority import Majority
from local_runner.cluster.messages import MalformedMessage
from local_runner.cluster.reminder import Reminder

CONNECT_SECONDS = 3.0
"""How long a connection to one broker, with TLS and credentials, may take."""

RETRY_SECONDS = 0.5
"""How long to wait before connecting again."""

BEAT_SECONDS = 1.0
"""How often the broker is asked whether it is there."""

BEATS_AT = 10
"""Into how many parts a second is divided, by the clock, at which all machines ask and say hello:
front and broker wake up for several at once, which costs them a fraction."""

SILENT_SECONDS = 3
"""How long the broker may take to say that it is there; then the connection is given up."""

PENDING_BYTES = 256 * 1024 * 1024
"""What may wait to be handled, per subscription; what is beyond is thrown away and sent again."""


Handler = Callable[[Msg], Awaitable[None]]


class BrokerAway(Exception):
    """Nothing can be sent now; try again later."""


class Link:
    """One connection at a time to one of the brokers. It belongs to one event loop.

    A broker that was lost or left is tried again only after all the others.

    Attributes:
        majority: What is known of the brokers behind the one that is connected to.
        connected: Set while there is a connection.
        tried: Set when it is known whether there is one.
        handlers: What is done with the messages on a subject; subscribed to on each connection.
        on_connect: Called after each connection is made.
        before_beat: Called each second, before the broker is asked whether it is there, with the
            time; what it sends has reached the broker when that responds.
        on_beat: Called when it has responded, with the time at which it was asked.
    """

    def __init__(self, broker: Broker, name: str, clock: Callable[[], float]) -> None:
        """Prepare.

        Args:
            broker: Where it is and how to be let in.
            name: What the connection is called in the broker's monitoring.
            clock: The time that `on_beat` gets, in seconds; by it a broker that is away is said to
                be so once a minute.
        """
        self._broker = broker
        self._name = name
        self._clock = clock
        self._urls = deque(random.sample(broker.urls, len(broker.urls)))
        self._client: BrokerClient | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._away_since: float | None = None
        self._reminder = Reminder(clock)
        self.majority = Majority(len(broker.urls))
        self.connected = asyncio.Event()
        self.tried = asyncio.Event()
        self.handlers: Mapping[str, Handler] = {}
        self.on_connect: Callable[[Client], Awaitable[None]] = _nothing
        self.before_beat: Callable[[float], Awaitable[None]] = _nothing
        self.on_beat: Callable[[float], Awaitable[None]] = _nothing

    async def run(self) -> None:
        """Keep the connection up until this is cancelled.

        Raises:
            BrokerRefuses: If the very first broker reached refuses the credentials.
        """
        try:
            while True:
                try:
                    client = await self._connect()
                except BrokerRefuses as error:
                    if self._away_since is None:
                        raise
                    self._complain(str(error))
                except (nats.errors.Error, OSError, TimeoutError) as error:
                    self._complain(_reason(error))
                else:
                    await self._use(client)
                await asyncio.sleep(RETRY_SECONDS * random.uniform(1, 2))
        finally:
            self._drop()

    async def hear(self, handlers: Mapping[str, Handler]) -> None:
        """Handle the messages on some subjects until this connection ends.

        Raises:
            BrokerAway: If there is no connection.
        """
        client = self._connection()
        try:
            for subject, handler in handlers.items():
                await client.subscribe(
                    subject,
                    cb=functools.partial(_handle, handler),
                    pending_msgs_limit=0,
                    pending_bytes_limit=PENDING_BYTES,
                )
        except (nats.errors.Error, OSError) as error:
            raise BrokerAway(_reason(error)) from error

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message; it may be lost.

        Raises:
            BrokerAway: If there is no connection.
        """
        client = self._connection()
        try:
            await client.publish(subject, data, reply)
        except (nats.errors.Error, OSError) as error:
            raise BrokerAway(_reason(error)) from error

    async def request(self, subject: str, data: bytes, timeout: float) -> bytes:
        """Send a message and wait for the response.

        Raises:
            BrokerAway: If there is no connection, or nobody responds in time.
        """
        client = self._connection()
        try:
            return bytes((await client.request(subject, data, timeout=timeout)).data)
        except (nats.errors.Error, OSError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not client.is_closed:
                raise
            raise BrokerAway(_reason(error)) from error

    @property
    def max_payload(self) -> int:
        """The most bytes of a message that the broker takes."""
        return self._connection().max_payload

    def _connection(self) -> BrokerClient:
        if self._client is None or self._client.is_closed:
            raise BrokerAway("the broker is away")
        return self._client

    # -- one connection

    async def _connect(self) -> BrokerClient:
        """Connect to the first broker that can be; each is tried once."""
        failure: Exception | None = None
        for url in list(self._urls):
            self._urls.rotate(-1)
            try:
                return await self._connect_to(url)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                failure = error
        assert failure is not None
        raise failure

    async def _connect_to(self, url: str) -> BrokerClient:
        # Of several, nats-py gives up at the first that takes a connection and says nothing.
        client = BrokerClient()
        client.demands_tls = self._broker.tls is not None
        last: list[Exception] = []

        async def note(error: Exception) -> None:
            last.append(error)

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(
                    url,
                    name=self._name,
                    tls=self._broker.tls,
                    user_credentials=self._broker.nats_credentials,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    # Nobody is to wait for ever to send what the broker does not take.
                    flush_timeout=SILENT_SECONDS,
                    flusher_queue_size=0,
                    error_cb=note,
                    inbox_prefix=self._broker.inbox,
                )
        except Exception as error:
            self._close(client)
            cause = last[-1] if last and isinstance(error, nats.errors.NoServersError) else error
            if refusal := self._broker.refusal(cause):
                raise BrokerRefuses(refusal) from error
            raise cause from error
        if not client.is_connected:
            # So it comes out of nats-py when the broker has closed the connection.
            self._close(client)
            raise last[-1] if last else nats.errors.UnexpectedEOF
        return client

    async def _use(self, client: BrokerClient) -> None:
        self._client = client
        self.majority.connected(asyncio.get_running_loop().time())
        try:
            await self.hear(self.handlers)
            if self._away_since is not None:
                away = round(asyncio.get_running_loop().time() - self._away_since, 1)
                log.event("broker", message="the broker is back", away_seconds=away)
                self._away_since = None
            await self.on_connect(client)
            self.connected.set()
            self.tried.set()
            while not client.is_closed:
                await self._beat(client)
        except (nats.errors.Error, OSError, TimeoutError, BrokerAway) as error:
            client.abandon()
            self._complain(_reason(error))
        else:
            self._complain("it has closed the connection")
        finally:
            self._drop()

    async def _beat(self, client: BrokerClient) -> None:
        asked, loop = self._clock(), asyncio.get_running_loop()
        until = loop.time() + SILENT_SECONDS
        await self.before_beat(asked)
        left = max(until - loop.time(), SILENT_SECONDS / 10)
        await client.flush(left)  # type: ignore[arg-type]  # it takes a fraction as well
        if not client.is_reading:
            raise nats.errors.StaleConnectionError
        if self.majority.leaving is not None:
            raise BrokerAway(f"it is cut off from the other brokers: {self.majority.leaving}")
        await self.on_beat(asked)
        await asyncio.sleep(_to_next_beat(time.time()))

    def _drop(self) -> None:
        self.connected.clear()
        client, self._client = self._client, None
        if client is not None:
            self._close(client)

    def _close(self, client: Client) -> None:
        """Close a connection without waiting for it: a peer that has vanished never lets it go."""
        task = asyncio.create_task(_closed(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _complain(self, reason: str) -> None:
        self.tried.set()
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()
        if self._reminder.is_due():
            log.event("broker", message=f"the broker is away, trying again: {reason}")


async def _nothing(_: object) -> None:
    """Nobody wants to know."""


async def _closed(client: Client) -> None:
    with contextlib.suppress(Exception):
        await client.close()


async def _handle(handler: Handler, message: Msg) -> None:
    """Handle a message; whatever is wrong with it must not end the subscription."""
    try:
        await handler(message)
    except MalformedMessage as error:
        log.event("malformed", message=f"ignored: {error}")
    except BrokerAway:
        pass  # whoever asked will ask again
    except Exception:
        log.failure(f"a message on {message.subject[:200]} could not be handled")


def _to_next_beat(now: float) -> float:
    """Seconds to wait, `BEAT_SECONDS` or somewhat less."""
    return math.floor((now + BEAT_SECONDS) * BEATS_AT) / BEATS_AT - now


def _reason(error: BaseException) -> str:
    return str(error).removeprefix("nats: ") or type(error).__name__
