"""The MQTT broker between engine and executors: amqtt in this process, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import amqtt.broker
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

Message: TypeAlias = Mapping[str, Any]
Events: TypeAlias = asyncio.Queue[Message | Exception]

REPORT = "report"
"""The topic of logs and warnings."""
SUBSCRIBE_SECONDS = 3.0
"""How long an executor may take to subscribe to what it waits for; milliseconds, in fact."""

_HOST = "127.0.0.1"
_AT_LEAST_ONCE = 1
_SUBSCRIPTION_POLL_SECONDS = 0.001
_CONFIG = {
    "listeners": {"default": {"type": "external"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


class Broker:
    """A running broker, and the engine's connection to it. `start_broker` makes one.

    Attributes:
        address: The host and port for an executor.
    """

    def __init__(self, context: amqtt.broker.BrokerContext, port: int, client: mqtt.Client) -> None:
        self.address = f"{_HOST}:{port}"
        self._context = context
        self._client = client

    def publish(self, topic: str, message: Message) -> None:
        """Publish a message to whoever listens now."""
        self._client.publish(topic, json.dumps(message), _AT_LEAST_ONCE)

    async def publish_to_listeners(self, topic: str, message: Message, listeners: int) -> None:
        """Publish a message when as many listen as are expected to, or in `SUBSCRIBE_SECONDS`."""
        # amqtt handles one SUBSCRIBE for each PUBLISH: when blocks start together, the message
        # that says "I listen" can overtake the subscription, and the response would be lost.
        deadline = time.monotonic() + SUBSCRIBE_SECONDS
        while len(self._context.subscriptions.get(topic, ())) < listeners:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_SUBSCRIPTION_POLL_SECONDS)
        self.publish(topic, message)


@contextlib.asynccontextmanager
async def start_broker(session: str, events: Events) -> AsyncIterator[Broker]:
    """Start a broker on 127.0.0.1; on leaving, end it.

    Args:
        session: The id of the session, which is also the topic of its messages.
        events: Receives the messages of the session and the reports.

    Yields:
        The broker.
    """
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    broker = amqtt.broker.Broker(_CONFIG)
    await broker.start()
    # A listener of amqtt's own cannot tell which free port it took.
    connected = functools.partial(broker.stream_connected, listener_name="default")
    server = await asyncio.start_server(connected, _HOST, 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with _client(port, session, events) as client:
            yield Broker(amqtt.broker.BrokerContext(broker), port, client)
    finally:
        server.close()
        await broker.shutdown()


@contextlib.asynccontextmanager
async def _client(port: int, session: str, events: Events) -> AsyncIterator[mqtt.Client]:
    loop = asyncio.get_running_loop()
    subscribed = asyncio.Event()

    def on_connect(client: mqtt.Client, *_: object) -> None:
        client.subscribe([(f"session/{session}", _AT_LEAST_ONCE), (REPORT, _AT_LEAST_ONCE)])

    def on_subscribe(*_: object) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        loop.call_soon_threadsafe(events.put_nowait, json.loads(message.payload))

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"engine-{session}")
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.connect_async(_HOST, port)
    client.loop_start()
    try:
        await subscribed.wait()
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
