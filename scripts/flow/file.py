"""Read a `flow.oo.yaml` and the block manifests it names, as OOMOL's engine reads them.

The rules are those of oomol/oocana-rust 0.31.3: `manifest_reader` says what a file may hold,
`manifest_meta/src/flow.rs` how nodes are connected. What the engine drops with a line in its own
log (an unknown node, an undeclared handle) is a warning here; what only OOMOL runs is refused.
"""

from __future__ import annotations

import graphlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.flow.block import ENDINGS, Block, find_block, read_block, read_inputs
from scripts.flow.condition import Condition, read_condition
from scripts.flow.document import FlowFileError, Table, read_document
from scripts.flow.inputs import (
    Connection,
    Constant,
    InputReader,
    read_values,
    undeclared,
)
from scripts.flow.records import FLOW, NODES, check

_NOT_RUN_HERE = {
    "subflow": "a subflow: run it as a flow of its own",
    "slot": "a slot: it belongs to a subflow",
    "service": "a service: give the node a task",
}


@dataclass(frozen=True)
class Node:
    """A node that runs: what it runs, and where its inputs come from.

    Attributes:
        node_id: Its id.
        block: The block, or the condition.
        inputs: The source of each input that has one, by handle.
        timeout_seconds: After this long the engine ends it as failed; None for no limit.
    """

    node_id: str
    block: Block | Condition
    inputs: Mapping[str, Constant | Connection]
    timeout_seconds: int | None = None

    @property
    def missing(self) -> list[str]:
        """The declared handles without a value or a connection: the engine never runs the node."""
        return [handle for handle in self.block.inputs_def if handle not in self.inputs]


@dataclass(frozen=True)
class Flow:
    """A flow whose names all resolve and whose connections have no cycle.

    Attributes:
        path: The flow file.
        nodes: The nodes that run, by node id, in the order of the file.
        value_nodes: The ids of the nodes that only hold values, which are in `nodes` already.
        warnings: What the engine leaves out without a word to the user.
    """

    path: Path
    nodes: Mapping[str, Node]
    value_nodes: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def with_values(self, values: Mapping[tuple[str, str], Any]) -> Flow:
        """Give inputs other values.

        Args:
            values: By node id and handle; each takes the place of a value, of a connection, or of
                nothing.

        Returns:
            The changed flow.

        Raises:
            FlowFileError: If there is no such node or the block declares no such input.
        """
        nodes = dict(self.nodes)
        for (node_id, handle), value in values.items():
            if node_id in self.value_nodes:
                raise FlowFileError(
                    f"{self.path}: {node_id!r} is a value node: name the inputs that take its value"
                )
            if node_id not in nodes:
                raise FlowFileError(f"{self.path}: there is no node {node_id!r}")
            node = nodes[node_id]
            if handle not in node.block.inputs_def:
                fault = undeclared(node.block.name, node.block.inputs_def, handle)
                raise FlowFileError(f"{self.path}: node {node_id!r}: {fault}")
            nodes[node_id] = replace(node, inputs={**node.inputs, handle: Constant(value)})
        return replace(self, nodes=nodes)


def load_flow(path: Path) -> Flow:
    """Read a flow.

    Args:
        path: The flow's folder or its `flow.oo.yaml`.

    Returns:
        The flow, with its blocks.

    Raises:
        FlowFileError: If a file is missing or one that the engine refuses, a block is unknown, a
            node is of a kind that cannot be run here, or the connections have a cycle.
    """
    if path.is_dir():
        names = [path / f"flow{ending}" for ending in ENDINGS]
        path = next((file for file in names if file.is_file()), names[0])
    file = Path(os.path.abspath(path))  # noqa: PTH100
    document = read_document(file)
    check(document, FLOW)
    if document.json("injection"):
        raise FlowFileError(
            f"{file} has 'injection', scripts for packages, which only OOMOL runs: "
            "remove it to run the flow here"
        )
    entries = dict(_read_entries(document))
    if not any("values" not in entry for entry in entries.values()):
        raise FlowFileError(f"{file}: no nodes to run")
    reader = _Reader(file, entries)
    nodes = {
        node_id: reader.node(node_id, entry)
        for node_id, entry in entries.items()
        if node_id not in reader.value_nodes
    }
    flow = Flow(file, nodes, frozenset(reader.value_nodes), tuple(reader.warnings))
    return _checked(flow)


def _read_entries(flow: Table) -> Iterator[tuple[str, Table]]:
    """The nodes that are not ignored, by their ids; the engine checks the types of all."""
    known = set()
    for entry in flow.tables_or_none("nodes"):
        node_id = entry.text("node_id")
        if node_id in known:
            raise FlowFileError(f"{entry.where}: another node has the node_id {node_id!r}, too")
        known.add(node_id)
        named = entry.called(f"node {node_id!r}")
        check(named, NODES[_kind(named)])
        if not named.boolean("ignore"):
            yield node_id, named


class _Reader:
    """Reads the nodes of a flow, of which `entries` are those that are not ignored."""

    def __init__(self, file: Path, entries: Mapping[str, Table]) -> None:
        self.file = file
        self.warnings: list[str] = []
        self.value_nodes = {
            node_id: read_values(entry)
            for node_id, entry in entries.items()
            if _kind(entry) == "values"
        }
        running = entries.keys() - self.value_nodes.keys()
        self._inputs = InputReader(running, self.value_nodes, self.warnings.append)

    def node(self, node_id: str, entry: Table) -> Node:
        """Read a node that runs."""
        block: Block | Condition
        kind = _kind(entry)
        if kind in _NOT_RUN_HERE:
            raise FlowFileError(f"{entry.where} is {_NOT_RUN_HERE[kind]}, or run the flow in OOMOL")
        if kind == "conditions":
            block = read_condition(entry.table("conditions"), read_inputs(entry))
        else:
            block = self._block(entry)
        inputs = self._inputs.read(entry, block.name, block.inputs_def)
        return Node(node_id, block, inputs, entry.seconds_or_none("timeout"))

    def _block(self, entry: Table) -> Block:
        if entry.table_or_none("inject") is not None:
            raise FlowFileError(
                f"{entry.where} has 'inject', which only OOMOL can: remove it to run the node here"
            )
        if not entry.is_text("task"):
            inline = entry.table("task")
            block = read_block(inline, "inline task", self.file.parent, self._package)
            return block.with_additional(entry)
        manifest, package = find_block(entry.text("task"), self.file.parent, entry.where)
        folder = manifest.parent
        block = read_block(read_document(manifest), folder.name, folder, package, manifest)
        return block.with_additional(entry)

    @property
    def _package(self) -> Path:
        return self.file.parent.parent.parent


def _kind(entry: Table) -> str:
    kind = next((kind for kind in NODES if kind in entry), None)
    if kind is None:
        raise FlowFileError(f"{entry.where} is of no kind: give it a task, conditions or values")
    return kind


def _checked(flow: Flow) -> Flow:
    warnings = list(flow.warnings)
    upstream: dict[str, list[str]] = {}
    for node in flow.nodes.values():
        sources = [one for one in node.inputs.values() if isinstance(one, Connection)]
        upstream[node.node_id] = [source.node_id for source in sources]
        for source in sources:
            sender = flow.nodes[source.node_id]
            if source.handle not in sender.block.outputs_def:
                known = ", ".join(sender.block.outputs_def) or "none"
                warnings.append(
                    f"{flow.path}: node {node.node_id!r} waits for {source.handle!r} of "
                    f"{source.node_id!r}, whose outputs are: {known}"
                )
    try:
        graphlib.TopologicalSorter(upstream).prepare()
    except graphlib.CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise FlowFileError(f"{flow.path}: the connections form a cycle: {cycle}") from None
    return replace(flow, warnings=tuple(warnings))
