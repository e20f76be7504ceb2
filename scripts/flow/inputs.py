"""Where the inputs of a node come from, as OOMOL's engine connects them.

`manifest_meta/src/connections.rs` and `flow.rs` of oomol/oocana-rust say what counts: of the values
of a handle the first, before them that of a value node, and before all a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from scripts.flow.document import FlowFileError, Table


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


class InputReader:
    """Reads the inputs of the nodes of a flow.

    Args:
        running: The ids of the nodes that run.
        value_nodes: What the value nodes give, by their ids.
        warn: Is told what the engine leaves out.
    """

    def __init__(
        self,
        running: Collection[str],
        value_nodes: Mapping[str, Values],
        warn: Callable[[str], None],
    ) -> None:
        self._running = running
        self._value_nodes = value_nodes
        self._warn = warn

    def read(
        self, entry: Table, name: str, declared: Collection[str]
    ) -> dict[str, Constant | Connection]:
        """Read `inputs_from`.

        Args:
            entry: The node.
            name: What its block is called.
            declared: The inputs that its block declares.

        Returns:
            The source of each declared input that has one, by handle.

        Raises:
            FlowFileError: If the engine would refuse it, or run the node several times.
        """
        inputs = {}
        sources: dict[str, list[Table]] = {}
        for source in entry.tables_or_none("inputs_from"):
            sources.setdefault(source.text("handle"), []).append(source)
        for handle, given in sources.items():
            where = f"{entry.where}: input {handle!r}"
            taken = self._source(given, where)
            if handle not in declared:
                fault = undeclared(name, declared, handle)
                self._warn(f"{entry.where}: {fault}: OOMOL leaves it out")
            elif taken is not None:
                inputs[handle] = taken
        return inputs

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
        values = self._value_nodes.get(connection.node_id)
        if values is not None and connection.handle in values:
            constants.append(values[connection.handle])
        elif values is None and connection.node_id in self._running:
            connections.append(connection)
        else:
            what = "no node that runs" if values is None else f"without {connection.handle!r}"
            self._warn(f"{where} comes from {connection.node_id!r}, {what}: OOMOL leaves it out")


def read_values(entry: Table) -> Values:
    """Read what a value node gives."""
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
        if source.tables_or_none("from_flow"):
            raise FlowFileError(
                f"{where} has 'from_flow', for inputs of a subflow, and a flow has none: "
                "give it a value or 'from_node'"
            )
        for one in source.tables_or_none("from_node"):
            yield Connection(one.text("node_id"), one.text("output_handle"))


def undeclared(name: str, declared: Collection[str], handle: str) -> str:
    """What to say of an input that a block does not declare."""
    known = ", ".join(declared) or "none"
    return f"{name!r} declares no input {handle!r} (it declares: {known})"
