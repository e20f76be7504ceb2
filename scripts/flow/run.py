"""Run the nodes of a flow: each as soon as its inputs are there, independent ones at the same time.

As in OOMOL's engine, a value goes to the next nodes the moment it is sent, not when its node ends,
and a node that lacks a value never runs. Different from it:

- A node without a value or connection for a declared handle is named and fails the run.
- A failed node stops only the nodes that need its outputs, so that one run shows every failure.
- A node runs once. A second value for a connected handle, or one sent to chosen nodes only
  (`to_node`), does not start nodes again.
- A run that is broken off cancels the jobs that its nodes started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.flow.block import Block
from scripts.flow.broker import Events, Message
from scripts.flow.condition import Condition
from scripts.flow.executor import ExecutorError, Executors, start_executors
from scripts.flow.file import Flow
from scripts.flow.inputs import Connection
from scripts.flow.jobs import started_jobs
from scripts.flow.node import Listener, NodeRun, State
from scripts.stopping import stop_signals


class Interrupted(Exception):
    """A signal that ends the run came, or nobody reads what is printed, which counts as SIGPIPE.

    `number` says which signal.
    """

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
        cancelled: What became of the jobs of a run that was broken off, a sentence each.
    """

    def __init__(self, flow: Flow, listener: Listener, command: Path) -> None:
        self.flow = flow
        self.nodes = {node_id: NodeRun.of(node) for node_id, node in flow.nodes.items()}
        self.seconds = 0.0
        self.error: str | None = None
        self.interrupted: signal.Signals | None = None
        self.cancelled: list[str] = []
        self._listener = listener
        self._command = command
        self._jobs: dict[str, NodeRun] = {}
        self._events: Events = asyncio.Queue()

    @property
    def exit_code(self) -> int:
        """0 when all nodes finished or were skipped, 1 when not, 128 + the number of a signal."""
        if self.interrupted is not None:
            return 128 + self.interrupted
        good = (State.FINISHED, State.SKIPPED)
        return int(any(run.state not in good for run in self.nodes.values()))

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "flow": str(self.flow.path),
            "ok": self.exit_code == 0,
            "seconds": self.seconds,
            "error": self.error,
            "warnings": list(self.flow.warnings),
            "cancelled": self.cancelled,
            "nodes": {node_id: run.as_json() for node_id, run in self.nodes.items()},
        }

    async def run(self, timeout_seconds: float) -> None:
        """Run the flow, until its end or a signal; no process and no file is left over.

        Args:
            timeout_seconds: A node that runs longer than this, counted from the start of the
                first, is killed and failed.
        """
        started = time.monotonic()
        for number in (signal.SIGINT, *stop_signals()):
            event = Interrupted(number)
            asyncio.get_running_loop().add_signal_handler(number, self._events.put_nowait, event)
        self._refuse_incomplete_nodes()
        blocks = (run.node.block for run in self.nodes.values())
        packages = {block.package: None for block in blocks if isinstance(block, Block)}
        try:
            async with start_executors(self._command, packages, self._events) as executors:
                await executors.until_ready()
                async with asyncio.timeout(timeout_seconds):
                    await self._run_nodes(executors)
        except TimeoutError:
            await self._break_off(
                f"The flow was not over after {timeout_seconds:g} s (--timeout).\n"
                "A block that raises SystemExit, for one, never tells that it has ended."
            )
        except ExecutorError as error:
            await self._break_off(str(error))
        except Interrupted as interrupt:
            self.interrupted = interrupt.number
            await self._break_off(str(interrupt))
        for run in self.nodes.values():
            self._give_up(run)
        self.seconds = round(time.monotonic() - started, 3)

    async def _run_nodes(self, executors: Executors) -> None:
        await self._start_ready_nodes(executors)
        while any(run.state is State.RUNNING for run in self.nodes.values()):
            message = await executors.next_message()
            if run := self._jobs.get(message.get("job_id", "")):
                self._take_note(run, message)
                if run.state is State.RUNNING:
                    await self._advance(run, message, executors)

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

    async def _advance(self, run: NodeRun, message: Message, executors: Executors) -> None:
        match message["type"]:
            case "BlockReady" if isinstance(run.node.block, Block):
                stack = {"flow_job_id": "flow", "flow": str(self.flow.path)}
                stack["node_id"] = run.node.node_id
                await executors.send_inputs(message["job_id"], run.node.block, run.values, stack)
            case "BlockProgress":
                if run.progress != message["progress"]:
                    run.progress = message["progress"]
                    with self._telling() as listener:
                        listener.progressed(run)
            case "BlockOutput":
                self._deliver(run, {message["handle"]: message["output"]})
            case "BlockOutputs":
                self._deliver(run, message["outputs"])
            case "BlockRequest" if message["action"] == "Preview":
                run.previews.append(message["payload"])
            case "BlockRequest" if message["action"] != "UpdateNodeWeight":
                await executors.refuse(message)
            case "BlockFinished":
                self._deliver(run, message.get("result") or {})
                self._end(run, message.get("error"))
        await self._start_ready_nodes(executors)

    async def _start_ready_nodes(self, executors: Executors) -> None:
        while ready := [run for run in self.nodes.values() if run.is_ready]:
            for run in ready:
                run.started = time.monotonic()
                self._change(run, State.RUNNING)
                block = run.node.block
                if isinstance(block, Condition):
                    self._deliver(run, block.outputs(run.values))
                    self._end(run, None)
                else:
                    await self._start(run, block, executors)

    async def _start(self, run: NodeRun, block: Block, executors: Executors) -> None:
        job_id = uuid.uuid4().hex
        self._jobs[job_id] = run
        if (seconds := run.node.timeout_seconds) is not None:
            error = f"Timeout: the node ran longer than its 'timeout' of {seconds} s"
            late = {"type": "BlockFinished", "job_id": job_id, "error": error}
            asyncio.get_running_loop().call_later(seconds, self._events.put_nowait, late)
        await executors.run_block(job_id, block)

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

    async def _break_off(self, reason: str) -> None:
        self.error = reason
        jobs = list(started_jobs(self.nodes.values()))
        for run in self.nodes.values():
            if run.state is State.RUNNING:
                self._end(run, f"still running: {reason.splitlines()[0]}")
        # A second signal ends the wait: what is not cancelled by then goes on.
        second = asyncio.create_task(self._next_signal())
        cancels = [job.cancel_in_background() for job in jobs]
        for job, cancel in zip(jobs, cancels, strict=True):
            await asyncio.wait({cancel, second}, return_when=asyncio.FIRST_COMPLETED)
            left = f"{job.job_id} of {job.node_id} may go on: a second signal came"
            self.cancelled.append(cancel.result() if cancel.done() else left)
        second.cancel()

    async def _next_signal(self) -> str:
        while True:
            event = await self._events.get()
            # The end of a terminal comes as a signal and as a failure to print.
            if isinstance(event, Interrupted) and event.number in (signal.SIGINT, signal.SIGTERM):
                return str(event)

    def _give_up(self, run: NodeRun) -> None:
        """Say of a node that still waits why it does not run."""
        if run.state is not State.WAITING:
            return
        state, run.error = State.NOT_RUN, "the run ended before"
        for handle, source in run.node.inputs.items():
            if isinstance(source, Connection) and handle not in run.values:
                sender = self.nodes[source.node_id]
                self._give_up(sender)
                state, what = self._fate(sender)
                run.error = f"waits for {source.handle!r}, but {source.node_id} {what}"
                if state is State.NOT_RUN:
                    break
        self._change(run, state)

    def _fate(self, sender: NodeRun) -> tuple[State, str]:
        """What becomes of a node that lacks an output of `sender`, and what `sender` did."""
        match sender.state:
            case State.FAILED:
                return State.NOT_RUN, "failed"
            case State.SKIPPED:
                return State.SKIPPED, "was skipped"
            case State.FINISHED if isinstance(sender.node.block, Condition):
                return State.SKIPPED, "did not take that branch"
            case State.FINISHED:
                return State.NOT_RUN, "sent none"
        return State.NOT_RUN, "did not run"

    def _change(self, run: NodeRun, state: State) -> None:
        run.state = state
        with self._telling() as listener:
            listener.state_changed(run)

    def _log(self, run: NodeRun, stream: str, text: str) -> None:
        run.logs.append({"stream": stream, "text": text})
        with self._telling() as listener:
            listener.said(run, stream, text)

    def _warn(self, run: NodeRun, warning: str) -> None:
        run.warnings.append(warning)
        with self._telling() as listener:
            listener.said(run, "warning", warning)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[Listener]:
        """The listener; the run is broken off when nobody reads what it prints any more."""
        try:
            yield self._listener
        except OSError:
            self._listener = Listener()
            self._events.put_nowait(Interrupted(signal.SIGPIPE))
