"""Run the real OOMOL Python executor, and talk to it as OOMOL's engine (oomol/oocana-rust) does.

Engine and executor exchange JSON over MQTT. `mainframe/src/scheduler.rs` of the engine says what it
sends, `oocana/mainframe.py` and `python_executor/executor.py` of oomol/oocana-python what comes
back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from scripts.flow.block import Block
from scripts.flow.broker import REPORT, Broker, Events, Message, start_broker

EXECUTOR = Path(sys.executable).with_name("python-executor")
"""The executor of this Python environment."""
START_SECONDS = 60.0
"""How long an executor may take to start; a second, mostly, ten on a busy machine."""
END_SECONDS = 2.0
"""How long an executor may take to end after SIGTERM before its process group is killed."""
SHOWN_LINES = 15
"""How many of the executor's last lines an error shows."""

_LOG = "executor.log"
_RUN_BLOCK = "executor/python/run_block"
_OWN_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ - (DEBUG|INFO|WARNING) - \{")


class ExecutorError(Exception):
    """An executor could not be started, or ended before its session did."""


class Executors:
    """The running executors of a flow, one for each package. `start_executors` makes them.

    Args:
        broker: What carries the messages.
        session: The session id.
        events: Where their messages arrive.
    """

    def __init__(self, broker: Broker, session: str, events: Events) -> None:
        self._broker = broker
        self._session = session
        self._events = events
        self._by_package: dict[Path, _Executor] = {}

    def start(self, command: Path, package: Path, folder: Path) -> None:
        """Start the executor of a package.

        Args:
            command: The program.
            package: The root of the package.
            folder: A folder for its files, which does not exist yet.

        Raises:
            ExecutorError: If it cannot be started.
        """
        identifier = f"{self._session}-{len(self._by_package)}"
        options = {
            "session-id": self._session,
            "identifier": identifier,
            "address": self._broker.address,
            "package": str(package),
        }
        process = _spawn(command, options, folder)
        self._by_package[package] = _Executor(process, folder / _LOG, identifier, self._events)

    async def next_message(self) -> Message:
        """Wait for the next message of any executor.

        Returns:
            The message: `type`, mostly `job_id`, and what belongs to the type.

        Raises:
            ExecutorError: If an executor ended.
            Exception: Whatever else was put into the events instead of a message.
        """
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def until_ready(self) -> None:
        """Wait until each executor takes blocks.

        Raises:
            ExecutorError: If one ended, or was not ready in `START_SECONDS`.
        """
        starting = len(self._by_package)
        try:
            async with asyncio.timeout(START_SECONDS):
                while starting:
                    message = await self.next_message()
                    starting -= message.get("type") == "ExecutorReady"
        except TimeoutError as error:
            raise ExecutorError(f"The executor was not ready in {START_SECONDS:g} s") from error

    async def run_block(self, job_id: str, block: Block) -> None:
        """Have a block run as the job `job_id`; its executor responds with `BlockReady`."""
        payload = {
            "type": "BlockPayload",
            "executor_name": "python",
            "stacks": [],
            "dir": str(block.folder),
            "executor": block.executor,
            "outputs": block.outputs_def,
            "identifier": self._by_package[block.package].identifier,
        }
        await self._publish(_RUN_BLOCK, job_id, payload, len(self._by_package))

    async def send_inputs(
        self, job_id: str, block: Block, inputs: Mapping[str, Any], stack: Mapping[str, str]
    ) -> None:
        """Respond to `BlockReady`; at once, for until then the executor waits in a busy loop.

        Args:
            job_id: The job that is ready.
            block: Its block.
            inputs: The values by handle.
            stack: The `flow_job_id`, `flow` and `node_id` of the node.
        """
        payload = {
            "type": "BlockInputs",
            "stacks": [stack],
            "block_path": None if block.manifest is None else str(block.manifest),
            "inputs": inputs or None,
            "inputs_def": block.inputs_def or None,
            "inputs_def_patch": None,
        }
        await self._publish(f"inputs/{self._session}/{job_id}", job_id, payload)

    async def refuse(self, request: Message) -> None:
        """Respond to a `BlockRequest` with an error, which the waiting block raises."""
        action, request_id = request.get("action"), request.get("request_id")
        payload = {
            "request_id": request_id,
            "error": f"{action} is answered by OOMOL's engine only: run the flow in OOMOL",
        }
        topic = f"session/{self._session}/request/{request_id}/response"
        await self._publish(topic, str(request.get("job_id")), payload)

    async def end(self) -> None:
        """End them and all they started, as the engine does: without a clean-up of blocks."""
        self._broker.publish(REPORT, {"type": "SessionFinished", "session_id": self._session})
        await asyncio.gather(*(executor.end() for executor in self._by_package.values()))

    async def _publish(self, topic: str, job_id: str, payload: Message, listeners: int = 1) -> None:
        content = {**payload, "session_id": self._session, "job_id": job_id}
        await self._broker.publish_to_listeners(topic, content, listeners)


@contextlib.asynccontextmanager
async def start_executors(
    command: Path, packages: Iterable[Path], events: Events
) -> AsyncIterator[Executors]:
    """Start a `python-executor` for each package; on leaving, end them and clean up.

    Args:
        command: The program, in the Python environment that the blocks are to have.
        packages: The roots of the packages whose blocks they are to run.
        events: Receives the executors' messages, the first of each is `ExecutorReady`, and one
            `ExecutorError` when a process ends.

    Yields:
        The executors.

    Raises:
        ExecutorError: If one cannot be started.
    """
    session = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="run-flow-", ignore_cleanup_errors=True) as folder:
        async with start_broker(session, events) as broker:
            executors = Executors(broker, session, events)
            try:
                for number, package in enumerate(packages):
                    executors.start(command, package, Path(folder, str(number)))
                yield executors
            finally:
                await executors.end()


class _Executor:
    """One process, the leader of a process group."""

    def __init__(
        self, process: subprocess.Popen[bytes], log: Path, identifier: str, events: Events
    ) -> None:
        self.identifier = identifier
        self._process = process
        self._log = log
        self._ended = asyncio.create_task(asyncio.to_thread(process.wait))
        self._ended.add_done_callback(lambda _: events.put_nowait(self._early_end()))

    async def end(self) -> None:
        """End it, and all it started."""
        # Not every executor gets the message that the session is over: its SDK may connect before
        # it notes that it wants to subscribe to `report`, and then never does.
        self._signal_group(signal.SIGTERM)
        await asyncio.wait([self._ended], timeout=END_SECONDS)
        self._signal_group(signal.SIGKILL)
        await self._ended

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


def _spawn(command: Path, options: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    data, session_dir, tmp = folder / "data", folder / "session", folder / "tmp"
    for made in (data, session_dir, tmp / Path(options["package"]).name):
        made.mkdir(parents=True)
    options = {
        **options,
        "session-dir": str(session_dir),
        "tmp-dir": str(tmp),
        # Otherwise it writes into ~/.oocana, and another HOME would change what blocks see.
        "output": "console",
    }
    try:
        with (folder / _LOG).open("wb") as output:
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
