"""Run the nodes of a flow: each as soon as its inputs are there, independent ones at the same time.

As in OOMOL's engine, a value goes to the next nodes the moment it is sent, not when its node ends,
and a node that lacks a value never runs. Different from it:

- A node without a value or connection for a declared handle is named and fails the run.
- A failed node stops only the nodes that need its outputs, so that one run shows every failure.
- A node runs once. A second value for a connected handle, or one sent to chosen nodes only
  (`to_node`), does not start nodes again.
"""

from __future__ import annotations

import asyncio
import enum
import json
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.flow.executor import Events, Executor, ExecutorError, Message, start_executor
from scripts.flow.file import Connection, Constant, Flow, Node


class State(enum.StrEnum):
    """How far a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass
class NodeRun:
    """One node in a run.

    Attributes:
        node: The node.
        values: The inputs it has so far, by handle.
        started: When it started, in `time.monotonic()` seconds.
        state: How far it is.
        seconds: How long it ran, once it ended.
        progress: The last it reported, 0 to 100.
        outputs: The values it sent, by handle.
        logs: What it logged: `text`, mostly a line, and its `stream`, stdout or stderr.
        warnings: What the block or the SDK warned of.
        previews: The payloads of its previews.
        error: Why it failed (the block's traceback, mostly) or did not run.
    """

    node: Node
    values: dict[str, Any]
    started: float = 0.0
    state: State = State.WAITING
    seconds: float | None = None
    progress: float | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    logs: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    previews: list[Any] = field(default_factory=list)
    error: str | None = None

    @classmethod
    def of(cls, node: Node) -> NodeRun:
        """The run of `node`, before it starts."""
        inputs = node.inputs.items()
        return cls(node, {handle: one.value for handle, one in inputs if isinstance(one, Constant)})

    def as_json(self) -> dict[str, Any]:
        """What there is to tell about it, as JSON values."""
        return {
            "block": self.node.block.name,
            "state": self.state.value,
            "seconds": self.seconds,
            "progress": self.progress,
            "outputs": self.outputs,
            "logs": self.logs,
            "warnings": self.warnings,
            "previews": self.previews,
            "error": self.error,
        }


class Listener:
    """What is told about a run while it goes on; these methods do nothing."""

    def state_changed(self, run: NodeRun) -> None:
        """A node started, ended, or will not run."""

    def said(self, run: NodeRun, label: str, text: str) -> None:
        """A block logged something, to the stdout or stderr of `label`, or it is a warning."""

    def progressed(self, run: NodeRun) -> None:
        """A block reported its progress."""


class Interrupted(Exception):
    """SIGINT or SIGTERM came; `number` says which."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"{number.name} ended the run.")
        self.number = number


class FlowRun:
    """One run of a flow, and afterwards its result.

    Args:
        flow: The flow.
        listener: What is told about the run.
        command: The `python-executor` to start.

    Attributes:
        flow: The flow.
        nodes: The runs of its nodes by node id, in the order of the file.
        seconds: How long it all took.
        error: Why the run ended before its nodes did, or None.
        interrupted: The signal that ended it, or None.
    """

    def __init__(self, flow: Flow, listener: Listener, command: Path) -> None:
        self.flow = flow
        self.nodes = {node_id: NodeRun.of(node) for node_id, node in flow.nodes.items()}
        self.seconds = 0.0
        self.error: str | None = None
        self.interrupted: signal.Signals | None = None
        self._listener = listener
        self._command = command
        self._jobs: dict[str, NodeRun] = {}

    @property
    def exit_code(self) -> int:
        """0 when all nodes finished, 1 when not, 130 after SIGINT and 143 after SIGTERM."""
        if self.interrupted is not None:
            return 128 + self.interrupted
        return int(any(run.state is not State.FINISHED for run in self.nodes.values()))

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "flow": str(self.flow.path),
            "ok": self.exit_code == 0,
            "seconds": self.seconds,
            "error": self.error,
            "nodes": {node_id: run.as_json() for node_id, run in self.nodes.items()},
        }

    async def run(self, timeout_seconds: float) -> None:
        """Run the flow, until its end or SIGINT or SIGTERM; no process and no file is left over.

        Args:
            timeout_seconds: A node that runs longer than this, counted from the start of the
                first, is killed and failed.
        """
        started = time.monotonic()
        events: Events = asyncio.Queue()
        for number in (signal.SIGINT, signal.SIGTERM):
            event = Interrupted(number)
            asyncio.get_running_loop().add_signal_handler(number, events.put_nowait, event)
        self._refuse_incomplete_nodes()
        try:
            async with (
                start_executor(self._command, self.flow.package, events) as executor,
                asyncio.timeout(timeout_seconds),
            ):
                await self._run_nodes(executor)
        except TimeoutError:
            self._break_off(
                f"The flow was not over after {timeout_seconds:g} s (--timeout).\n"
                "A block that raises SystemExit, for one, never tells that it has ended."
            )
        except ExecutorError as error:
            self._break_off(str(error))
        except Interrupted as interrupt:
            self.interrupted = interrupt.number
            self._break_off(str(interrupt))
        self._give_up_waiting_nodes()
        self.seconds = round(time.monotonic() - started, 3)

    async def _run_nodes(self, executor: Executor) -> None:
        while (await executor.next_message()).get("type") != "ExecutorReady":
            pass
        await self._start_ready_nodes(executor)
        while any(run.state is State.RUNNING for run in self.nodes.values()):
            message = await executor.next_message()
            if run := self._jobs.get(message.get("job_id", "")):
                self._take_note(run, message)
                if run.state is State.RUNNING:
                    await self._advance(run, message, executor)

    def _take_note(self, run: NodeRun, message: Message) -> None:
        match message["type"]:
            case "BlockLog":
                # The SDK writes the stream's name as the key: {"stderr": "stderr"}.
                self._log(run, "stderr" if "stderr" in message else "stdout", message["log"])
            case "BlockLogJSON":
                self._log(run, "stdout", json.dumps(message["json"], ensure_ascii=False))
            case "BlockError":
                self._log(run, "stderr", message["error"])
            case "BlockWarning":
                self._warn(run, message["warning"])

    async def _advance(self, run: NodeRun, message: Message, executor: Executor) -> None:
        match message["type"]:
            case "BlockReady":
                stack = {"flow_job_id": "flow", "flow": str(self.flow.path)}
                stack["node_id"] = run.node.node_id
                await executor.send_inputs(message["job_id"], run.node.block, run.values, stack)
            case "BlockProgress":
                if run.progress != message["progress"]:
                    run.progress = message["progress"]
                    self._listener.progressed(run)
            case "BlockOutput":
                self._deliver(run, {message["handle"]: message["output"]})
            case "BlockOutputs":
                self._deliver(run, message["outputs"])
            case "BlockRequest" if message["action"] == "Preview":
                run.previews.append(message["payload"])
            case "BlockRequest" if message["action"] != "UpdateNodeWeight":
                await executor.refuse(message)
            case "BlockFinished":
                self._deliver(run, message.get("result") or {})
                self._end(run, message.get("error"))
        await self._start_ready_nodes(executor)

    async def _start_ready_nodes(self, executor: Executor) -> None:
        for run in self.nodes.values():
            block = run.node.block
            if run.state is State.WAITING and run.values.keys() >= block.inputs_def.keys():
                job_id = uuid.uuid4().hex
                self._jobs[job_id] = run
                run.started = time.monotonic()
                self._change(run, State.RUNNING)
                await executor.run_block(job_id, block)

    def _deliver(self, run: NodeRun, outputs: Mapping[str, Any]) -> None:
        for handle, value in outputs.items():
            source = Connection(run.node.node_id, handle)
            for target in self.nodes.values():
                names = [name for name, one in target.node.inputs.items() if one == source]
                if any(name in target.values for name in names):
                    again = target.node.node_id
                    self._warn(run, f"{handle!r} was sent again: OOMOL would run {again} again")
                else:
                    target.values.update(dict.fromkeys(names, value))
            run.outputs[handle] = value

    def _end(self, run: NodeRun, error: str | None) -> None:
        run.seconds = round(time.monotonic() - run.started, 3)
        run.error = error
        self._change(run, State.FINISHED if error is None else State.FAILED)

    def _refuse_incomplete_nodes(self) -> None:
        for run in self.nodes.values():
            if run.node.missing:
                handles = ", ".join(map(repr, run.node.missing))
                run.error = (
                    f"no value and no connection for {handles}: OOMOL never runs a node unless "
                    "every input its block declares has one, whatever its default"
                )
                self._change(run, State.NOT_RUN)

    def _break_off(self, reason: str) -> None:
        self.error = reason
        for run in self.nodes.values():
            if run.state is State.RUNNING:
                self._end(run, f"still running: {reason.splitlines()[0]}")

    def _give_up_waiting_nodes(self) -> None:
        for run in self.nodes.values():
            if run.state is State.WAITING:
                run.error = self._why_waiting(run)
                self._change(run, State.NOT_RUN)

    def _why_waiting(self, run: NodeRun) -> str:
        for handle, source in run.node.inputs.items():
            if isinstance(source, Connection) and handle not in run.values:
                words = {State.FAILED: "failed", State.FINISHED: "sent none"}
                what = words.get(self.nodes[source.node_id].state, "did not run")
                return f"waits for {source.handle!r} of {source.node_id}, which {what}"
        return "the run ended before"

    def _change(self, run: NodeRun, state: State) -> None:
        run.state = state
        self._listener.state_changed(run)

    def _log(self, run: NodeRun, stream: str, text: str) -> None:
        run.logs.append({"stream": stream, "text": text})
        self._listener.said(run, stream, text)

    def _warn(self, run: NodeRun, warning: str) -> None:
        run.warnings.append(warning)
        self._listener.said(run, "warning", warning)
