"""What becomes of the nodes of a flow while it runs, and who is told of it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Any

from scripts.flow.file import Node
from scripts.flow.inputs import Constant

_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ ].*\n|\n)*", re.MULTILINE)
_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))", re.MULTILINE)


class State(enum.StrEnum):
    """How far a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass
class NodeRun:
    """One node in a run.

    Attributes:
        node: The node.
        values: The inputs it has so far, by handle.
        started: When it started, in `time.monotonic()` seconds.
        state: How far it is; skipped if it needs a branch that a condition did not take.
        seconds: How long it ran, once it ended.
        progress: The last it reported, 0 to 100.
        outputs: The values it sent, by handle.
        logs: What it logged: `text`, mostly a line, and its `stream`, stdout or stderr.
        warnings: What the block or the SDK warned of.
        previews: The payloads of its previews.
        error: Why it failed (the block's traceback, mostly), was skipped or did not run.
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

    @property
    def is_ready(self) -> bool:
        """Whether it waits and has a value for every input."""
        has_all = self.values.keys() >= self.node.block.inputs_def.keys()
        return has_all and self.state is State.WAITING

    @property
    def message(self) -> str:
        """The error without the tracebacks and modules that are in it."""
        last = _TRACEBACK.split(self.error or "")[-1]
        return _MODULE.sub("", last, count=1).strip()

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
