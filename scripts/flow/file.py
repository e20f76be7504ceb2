"""Read a `flow.oo.yaml` and the block manifests it names, as OOMOL's engine reads them.

The rules are those of oomol/oocana-rust 0.31.3: `manifest_reader` says what a file may hold,
`manifest_meta/src/flow.rs` how nodes are connected. What the engine drops with a line in its own
log (an unknown node, an undeclared handle) is a warning here; what only OOMOL runs is refused.
"""

from __future__ import annotations

import graphlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from scripts.flow.block import Block, find_block, read_block, read_inputs
from scripts.flow.condition import Condition, read_condition
from scripts.flow.document import FlowFileError, Table, read_document

_KINDS = ("task", "subflow", "slot", "service", "conditions", "values")
_NOT_RUN_HERE = {
    "subflow": "a subflow: run it as a flow of its own",
    "slot": "a slot: it belongs to a subflow",
    "service": "a service: give the node a task",
}


@dataclass(frozen=True)
class Constant:
    """An input whose value the flow holds; null is a value."""

    value: Any


@dataclass(frozen=True)
class Connection:
    """An input that takes the output `handle` of the node `node_id`."""

    node_id: str
    handle: str


Values: TypeAlias = Mapping[str, Constant | None]
"""What a value node gives, by handle; None for a handle without a value."""


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
                raise FlowFileError(f"{self.path}: node {node_id!r}: {_undeclared(node, handle)}")
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
    file = Path(os.path.abspath(path / "flow.oo.yaml" if path.is_dir() else path))  # noqa: PTH100
    entries = dict(_read_entries(read_document(file)))
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
    for entry in flow.tables("nodes"):
        node_id = entry.text("node_id")
        if node_id in known:
            raise FlowFileError(f"{entry.where}: another node has the node_id {node_id!r}, too")
        known.add(node_id)
        named = entry.called(f"node {node_id!r}")
        named.text_or_none("description")
        named.check_number("concurrency", whole=True)
        named.check_number("progress_weight")
        if not named.boolean("ignore"):
            yield node_id, named


@dataclass
class _Reader:
    """Reads the nodes of a flow, of which `entries` are those that are not ignored."""

    file: Path
    entries: Mapping[str, Table]
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.value_nodes: Mapping[str, Values] = {
            node_id: _read_values(entry)
            for node_id, entry in self.entries.items()
            if _kind(entry) == "values"
        }

    def node(self, node_id: str, entry: Table) -> Node:
        """Read a node that runs."""
        block: Block | Condition
        if _kind(entry) == "conditions":
            conditions = entry.table_or_none("conditions")
            if conditions is None:
                raise FlowFileError(f"{entry.where}: 'conditions' is empty")
            block = read_condition(conditions, read_inputs(entry))
        else:
            block = self._block(entry)
        node = Node(node_id, block, {}, entry.seconds_or_none("timeout"))
        return replace(node, inputs=dict(self._inputs(node, entry)))

    def _block(self, entry: Table) -> Block:
        if "inject" in entry:
            raise FlowFileError(
                f"{entry.where} has 'inject', which only OOMOL can: remove it to run the node here"
            )
        inline = None if entry.is_text("task") else entry.table_or_none("task")
        if inline is not None:
            block = read_block(inline, "inline task", self.file.parent, self._package)
            return block.with_additional(entry)
        task = entry.text("task")
        manifest, package = find_block(task, self.file.parent, entry.where)
        name = task.replace("\\", "/").rpartition("/")[2].rpartition("::")[2]
        read = read_block(read_document(manifest), name, manifest.parent, package, manifest)
        return read.with_additional(entry)

    @property
    def _package(self) -> Path:
        return self.file.parent.parent.parent

    def _inputs(self, node: Node, entry: Table) -> Iterator[tuple[str, Constant | Connection]]:
        sources: dict[str, list[Table]] = {}
        for source in entry.tables("inputs_from"):
            sources.setdefault(source.text("handle"), []).append(source)
        for handle, given in sources.items():
            where = f"{entry.where}: input {handle!r}"
            taken = self._source(given, where)
            if handle not in node.block.inputs_def:
                self._warn(f"{entry.where}: {_undeclared(node, handle)}: OOMOL leaves it out")
            elif taken is not None:
                yield handle, taken

    def _source(self, given: list[Table], where: str) -> Constant | Connection | None:
        """What an input takes: of its values the first, and before that a connection."""
        own = _read_value(given[0])
        constants: list[Constant | None] = []
        connections: list[Connection] = []
        for connection in _read_connections(given, where):
            self._sort(connection, where, constants, connections)
        if len(given) > 1:
            self._warn(f"{where} is there twice: only the value of the first counts")
        if len(connections) > 1:
            raise FlowFileError(
                f"{where} has several connections, for which OOMOL runs the node several times: "
                "here it runs once, leave one"
            )
        if connections:
            if constants:
                self._warn(f"{where} takes a value node, too, in whose place the connection counts")
            return connections[0]
        if len(constants) > 1:
            self._warn(f"{where} comes from several value nodes, of which OOMOL takes none")
            return own
        return constants[0] if constants else own

    def _sort(
        self,
        connection: Connection,
        where: str,
        constants: list[Constant | None],
        connections: list[Connection],
    ) -> None:
        values = self.value_nodes.get(connection.node_id)
        if values is not None and connection.handle in values:
            constants.append(values[connection.handle])
        elif values is None and connection.node_id in self.entries:
            connections.append(connection)
        else:
            what = "no node that runs" if values is None else f"without {connection.handle!r}"
            self._warn(f"{where} comes from {connection.node_id!r}, {what}: OOMOL leaves it out")

    def _warn(self, warning: str) -> None:
        self.warnings.append(warning)


def _kind(entry: Table) -> str:
    kind = next((kind for kind in _KINDS if kind in entry), None)
    if kind is None:
        raise FlowFileError(f"{entry.where} is of no kind: give it a task, conditions or values")
    if kind in _NOT_RUN_HERE:
        raise FlowFileError(f"{entry.where} is {_NOT_RUN_HERE[kind]}, or run the flow in OOMOL")
    return kind


def _read_values(entry: Table) -> Values:
    values: dict[str, Constant | None] = {}
    for given in entry.tables("values"):
        value = _read_value(given)
        if value is None and given.boolean_or_none("nullable"):
            value = Constant(None)
        values.setdefault(given.text("handle"), value)
    return values


def _read_value(entry: Table) -> Constant | None:
    return Constant(entry.json("value")) if "value" in entry else None


def _read_connections(given: list[Table], where: str) -> Iterator[Connection]:
    for source in given:
        source.boolean("serialize_for_cache")
        if source.tables("from_flow"):
            raise FlowFileError(
                f"{where} has 'from_flow', for inputs of a subflow, and a flow has none: "
                "give it a value or 'from_node'"
            )
        for one in source.tables("from_node"):
            yield Connection(one.text("node_id"), one.text("output_handle"))


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


def _undeclared(node: Node, handle: str) -> str:
    known = ", ".join(node.block.inputs_def) or "none"
    return f"{node.block.name!r} declares no input {handle!r} (it declares: {known})"
