"""Run the real OOMOL Python executor, and talk to it as OOMOL's engine (oomol/oocana-rust) does.

Engine and executor exchange JSON over MQTT. `mainframe/src/scheduler.rs` of the engine says what it
sends, `oocana/mainframe.py` and `python_executor/executor.py` of oomol/oocana-python what comes
back. Here the broker is amqtt in this process, on a free port of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import paho.mqtt.client as mqtt
from amqtt.broker import Broker, BrokerContext
from paho.mqtt.enums import CallbackAPIVersion

from scripts.flow.file import Block

Message: TypeAlias = Mapping[str, Any]
Events: TypeAlias = asyncio.Queue[Message | Exception]

EXECUTOR = Path(sys.executable).with_name("python-executor")
"""The executor of this Python environment."""
END_SECONDS = 2.0
"""How long the executor may take to end after SIGTERM before its process group is killed."""
SUBSCRIBE_SECONDS = 3.0
"""How long the executor may take to subscribe to what it waits for; milliseconds, in fact."""
SHOWN_LINES = 15
"""How many of the executor's last lines an error shows."""

_HOST = "127.0.0.1"
_AT_LEAST_ONCE = 1
_SUBSCRIPTION_POLL_SECONDS = 0.001
_RUN_BLOCK = "executor/python/run_block"
_REPORT = "report"
_BROKER = {
    "listeners": {"default": {"type": "external"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}
_OWN_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ - (DEBUG|INFO|WARNING) - \{")


class ExecutorError(Exception):
    """The executor could not be started, or ended before its session did."""


class Executor:
    """A running executor. `start_executor` makes one.

    Args:
        process: Its process, the leader of a process group.
        log: The file with all it prints.
        client: The connection to the broker.
        broker: The broker's state.
        session: The session id, which is also the executor's identifier.
        events: Where its messages arrive.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: Path,
        client: mqtt.Client,
        broker: BrokerContext,
        session: str,
        events: Events,
    ) -> None:
        self._process = process
        self._log = log
        self._client = client
        self._broker = broker
        self._session = session
        self._events = events
        self._ended = asyncio.create_task(asyncio.to_thread(process.wait))
        self._ended.add_done_callback(lambda _: events.put_nowait(self._early_end()))

    async def next_message(self) -> Message:
        """Wait for the executor's next message.

        Returns:
            The message: `type`, mostly `job_id`, and what belongs to the type.

        Raises:
            ExecutorError: If the executor ended.
            Exception: Whatever else was put into the events instead of a message.
        """
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def run_block(self, job_id: str, block: Block) -> None:
        """Have a block run as the job `job_id`; the executor answers with `BlockReady`."""
        payload = {
            "type": "BlockPayload",
            "executor_name": "python",
            "stacks": [],
            "dir": str(block.manifest.parent),
            "executor": block.executor,
            "outputs": block.outputs_def,
            "identifier": self._session,
        }
        await self._publish(_RUN_BLOCK, job_id, payload)

    async def send_inputs(
        self, job_id: str, block: Block, inputs: Mapping[str, Any], stack: Mapping[str, str]
    ) -> None:
        """Answer `BlockReady`; at once, for until then the executor waits in a busy loop.

        Args:
            job_id: The job that is ready.
            block: Its block.
            inputs: The values by handle.
            stack: The `flow_job_id`, `flow` and `node_id` of the node.
        """
        payload = {
            "type": "BlockInputs",
            "stacks": [stack],
            "block_path": str(block.manifest),
            "inputs": inputs or None,
            "inputs_def": block.inputs_def or None,
            "inputs_def_patch": None,
        }
        await self._publish(f"inputs/{self._session}/{job_id}", job_id, payload)

    async def refuse(self, request: Message) -> None:
        """Answer a `BlockRequest` with an error, which the waiting block raises."""
        action, request_id = request.get("action"), request.get("request_id")
        payload = {
            "request_id": request_id,
            "error": f"this runner has no answer to {action}: only OOMOL's engine has",
        }
        topic = f"session/{self._session}/request/{request_id}/response"
        await self._publish(topic, str(request.get("job_id")), payload)

    async def end(self) -> None:
        """End the executor and all it started, as the engine does: without a clean-up of blocks."""
        message = json.dumps({"type": "SessionFinished", "session_id": self._session})
        self._client.publish(_REPORT, message, _AT_LEAST_ONCE)
        # Not every executor gets the message: its SDK may connect before it notes that it wants to
        # subscribe to `report`, and then never does.
        self._signal_group(signal.SIGTERM)
        await asyncio.wait([self._ended], timeout=END_SECONDS)
        self._signal_group(signal.SIGKILL)
        await self._ended

    async def _publish(self, topic: str, job_id: str, payload: Message) -> None:
        # amqtt handles one SUBSCRIBE for each PUBLISH: when blocks start together, the message
        # that says "I listen" can overtake the subscription, and the answer would be lost.
        deadline = time.monotonic() + SUBSCRIBE_SECONDS
        while topic not in self._broker.subscriptions and time.monotonic() < deadline:
            await asyncio.sleep(_SUBSCRIPTION_POLL_SECONDS)
        content = {**payload, "session_id": self._session, "job_id": job_id}
        self._client.publish(topic, json.dumps(content), _AT_LEAST_ONCE)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _early_end(self) -> ExecutorError:
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        lines = self._log.read_text("utf-8", "replace").splitlines()
        printed = [line for line in lines if not _OWN_LOG_LINE.match(line)][-SHOWN_LINES:]
        last = textwrap.indent("\n".join(printed), "  ") or "  nothing"
        return ExecutorError(f"The executor {how} before the flow ended.\nIts last output:\n{last}")


@contextlib.asynccontextmanager
async def start_executor(command: Path, package: Path, events: Events) -> AsyncIterator[Executor]:
    """Start a `python-executor`; on leaving, end it and clean up.

    Args:
        command: The program, in the Python environment that the blocks are to have.
        package: The root of the package whose blocks it is to run.
        events: Receives the executor's messages, the first is `ExecutorReady`, and one
            `ExecutorError` when its process ends.

    Yields:
        The executor.

    Raises:
        ExecutorError: If it cannot be started.
    """
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    session = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="run-flow-", ignore_cleanup_errors=True) as folder:
        async with _broker() as (broker, port), _client(port, session, events) as client:
            log = Path(folder, "executor.log")
            process = _spawn(command, package, session, port, Path(folder), log)
            executor = Executor(process, log, client, broker, session, events)
            try:
                yield executor
            finally:
                await executor.end()


@contextlib.asynccontextmanager
async def _broker() -> AsyncIterator[tuple[BrokerContext, int]]:
    broker = Broker(_BROKER)
    await broker.start()
    # A listener of amqtt's own cannot tell which free port it took.
    connected = functools.partial(broker.stream_connected, listener_name="default")
    server = await asyncio.start_server(connected, _HOST, 0)
    try:
        yield BrokerContext(broker), server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await broker.shutdown()


@contextlib.asynccontextmanager
async def _client(port: int, session: str, events: Events) -> AsyncIterator[mqtt.Client]:
    loop = asyncio.get_running_loop()
    subscribed = asyncio.Event()

    def on_connect(client: mqtt.Client, *_: object) -> None:
        client.subscribe([(f"session/{session}", _AT_LEAST_ONCE), (_REPORT, _AT_LEAST_ONCE)])

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


def _spawn(
    command: Path, package: Path, session: str, port: int, folder: Path, log: Path
) -> subprocess.Popen[bytes]:
    data, session_dir, tmp = folder / "data", folder / "session", folder / "tmp"
    for made in (data, session_dir, tmp / package.name):
        made.mkdir(parents=True)
    options = {
        "session-id": session,
        "address": f"{_HOST}:{port}",
        "session-dir": session_dir,
        "tmp-dir": tmp,
        "identifier": session,
        "package": package,
        # Otherwise it writes into ~/.oocana, and another HOME would change what blocks see.
        "output": "console",
    }
    try:
        with log.open("wb") as output:
            return subprocess.Popen(
                [command, *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OOCANA_PKG_DIR": str(data), "IS_FORKED": "1"},
                start_new_session=True,
            )
    except OSError as error:
        raise ExecutorError(
            f"cannot start {command}: {error} (`make setup` installs it)"
        ) from error
