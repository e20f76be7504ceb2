"""Read a `flow.oo.yaml` and the block manifests it names, as OOMOL's engine reads them.

The rules are those of oomol/oocana-rust 0.31.3: `manifest_reader` says what a file may hold,
`manifest_meta/src/flow.rs` how nodes are connected. What the engine drops with a warning in its
log (an unknown node, an undeclared handle) is an error here.
"""

from __future__ import annotations

import graphlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

_SELF = "self::"
_OTHER_NODE_KINDS = ("subflow", "slot", "service", "conditions", "values")
_UNSUPPORTED_NODE_KEYS = ("inject", "timeout", "inputs_def", "outputs_def")
_MANIFESTS = ("blocks/{}/block.oo.yaml", "tasks/{}/task.oo.yaml")
_INPUT_FIELDS = ("handle", "description", "json_schema", "kind", "nullable", "value")
_OUTPUT_FIELDS = ("handle", "description", "json_schema", "kind", "nullable")


class FlowFileError(Exception):
    """A flow or block manifest that cannot be run; the message names the file and the place."""


@dataclass(frozen=True)
class Constant:
    """An input whose value the flow holds; null is a value."""

    value: Any


@dataclass(frozen=True)
class Connection:
    """An input that takes the output `handle` of the node `node_id`."""

    node_id: str
    handle: str


@dataclass(frozen=True)
class Block:
    """A task block, in the words of its manifest.

    Attributes:
        name: `NAME` of `self::NAME`.
        manifest: Its `block.oo.yaml` or `task.oo.yaml`.
        executor: The manifest's `executor`, for the executor.
        inputs_def: The declared inputs by handle, each as the engine sends it.
        outputs_def: The declared outputs by handle, each as the engine sends it.
    """

    name: str
    manifest: Path
    executor: Mapping[str, Any]
    inputs_def: Mapping[str, Mapping[str, Any]]
    outputs_def: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Node:
    """A task node: a block, and where its inputs come from."""

    node_id: str
    block: Block
    inputs: Mapping[str, Constant | Connection]

    @property
    def missing(self) -> list[str]:
        """The declared handles without a value or a connection: the engine never runs the node."""
        return [handle for handle in self.block.inputs_def if handle not in self.inputs]


@dataclass(frozen=True)
class Flow:
    """A flow whose names all resolve and whose connections have no cycle.

    Attributes:
        path: The flow file.
        package: The root of its package, two folders above the flow's own.
        nodes: By node id, in the order of the file.
    """

    path: Path
    package: Path
    nodes: Mapping[str, Node]

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
            if node_id not in nodes:
                raise FlowFileError(f"{self.path}: there is no node {node_id!r}")
            node = nodes[node_id]
            _check_declared(handle, node.block, "input", f"{self.path}: node {node_id!r}")
            nodes[node_id] = replace(node, inputs={**node.inputs, handle: Constant(value)})
        return replace(self, nodes=nodes)


def load_flow(path: Path) -> Flow:
    """Read a flow.

    Args:
        path: The flow's folder or its `flow.oo.yaml`.

    Returns:
        The flow, with its blocks.

    Raises:
        FlowFileError: If a file is missing or malformed, a node, handle or block is unknown, a
            node is of a kind that cannot be run here, or the connections have a cycle.
    """
    file = Path(os.path.abspath(path / "flow.oo.yaml" if path.is_dir() else path))  # noqa: PTH100
    package = file.parent.parent.parent
    nodes: dict[str, Node] = {}
    for entry in _mappings(_read_yaml(file).get("nodes"), f"{file}: nodes"):
        node_id = _text(entry, "node_id", f"{file}: a node")
        if node_id in nodes:
            raise FlowFileError(f"{file}: two nodes have the node_id {node_id!r}")
        if entry.get("ignore") is not True:
            nodes[node_id] = _read_node(node_id, entry, package, f"{file}: node {node_id!r}")
    if not nodes:
        raise FlowFileError(f"{file}: no nodes to run")
    flow = Flow(file, package, nodes)
    _check_connections(flow)
    return flow


class _EngineYaml(yaml.SafeLoader):
    """YAML 1.2 as the engine reads it; PyYAML's own 1.1 turns `on` into true and 12:30 into 750."""


_EngineYaml.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*|(?=[eE])))([eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
):
    _EngineYaml.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _read_yaml(file: Path) -> Mapping[str, Any]:
    try:
        document = _EngineYaml(file.read_text("utf-8")).get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        raise FlowFileError(f"cannot read {file}: {error}") from error
    except yaml.YAMLError as error:
        raise FlowFileError(f"{file} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise FlowFileError(f"{file}: not a mapping")
    return document


def _read_node(node_id: str, entry: Mapping[str, Any], package: Path, where: str) -> Node:
    for kind in _OTHER_NODE_KINDS:
        if kind in entry:
            raise FlowFileError(f"{where} has {kind!r}: only task nodes can be run here")
    for key in _UNSUPPORTED_NODE_KEYS:
        if key in entry:
            raise FlowFileError(f"{where} has {key!r}, which is not supported here")
    block = _read_block(_text(entry, "task", where), package, where)
    inputs: dict[str, Constant | Connection] = {}
    for source in _mappings(entry.get("inputs_from"), f"{where}: inputs_from"):
        handle = _text(source, "handle", f"{where}: an entry of inputs_from")
        _check_declared(handle, block, "input", where)
        value = _read_input(source, f"{where}: input {handle!r}")
        if value is not None:
            inputs[handle] = value
    return Node(node_id, block, inputs)


def _read_input(source: Mapping[str, Any], where: str) -> Constant | Connection | None:
    if "from_flow" in source:
        raise FlowFileError(f"{where} has 'from_flow': only a subflow has inputs of its own")
    connections = [
        Connection(_text(one, "node_id", where), _text(one, "output_handle", where))
        for one in _mappings(source.get("from_node"), f"{where}: from_node")
    ]
    if len(connections) > 1:
        raise FlowFileError(f"{where} has several connections: a node runs only once here")
    if connections:
        return connections[0]
    return Constant(source["value"]) if "value" in source else None


def _read_block(task: str, package: Path, where: str) -> Block:
    if not task.startswith(_SELF):
        raise FlowFileError(f"{where}: task {task!r} is not of the form {_SELF}NAME")
    name = task.removeprefix(_SELF)
    candidates = [package / pattern.format(name) for pattern in _MANIFESTS]
    manifest = next((file for file in candidates if file.is_file()), None)
    if manifest is None:
        tried = " nor ".join(str(file) for file in candidates)
        raise FlowFileError(f"{where}: no block {name!r}, neither {tried}")
    content = _read_yaml(manifest)
    return Block(
        name=name,
        manifest=manifest,
        executor=_read_executor(content, manifest),
        inputs_def=dict(_read_handles(content, "inputs_def", _INPUT_FIELDS, manifest)),
        outputs_def=dict(_read_handles(content, "outputs_def", _OUTPUT_FIELDS, manifest)),
    )


def _read_executor(content: Mapping[str, Any], manifest: Path) -> Mapping[str, Any]:
    executor = content.get("executor")
    if not isinstance(executor, dict) or executor.get("name") != "python":
        raise FlowFileError(f"{manifest}: executor.name is not 'python'")
    options = executor.get("options")
    if not isinstance(options, dict) or not isinstance(options.get("entry"), str):
        # Without options the executor's thread dies silently and the block never ends.
        raise FlowFileError(f"{manifest}: executor.options.entry is missing")
    return {"name": "python", "options": {"spawn": False, **options}}


def _read_handles(
    content: Mapping[str, Any], key: str, fields: tuple[str, ...], manifest: Path
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in _mappings(content.get(key), f"{manifest}: {key}"):
        if "group" in entry and "handle" not in entry:
            continue
        handle = {field: entry[field] for field in fields if field in entry}
        if "value" in fields and entry.get("nullable") is True:
            handle.setdefault("value", None)
        yield _text(entry, "handle", f"{manifest}: {key}"), handle


def _check_connections(flow: Flow) -> None:
    upstream: dict[str, list[str]] = {}
    for node in flow.nodes.values():
        where = f"{flow.path}: node {node.node_id!r}"
        sources = [one for one in node.inputs.values() if isinstance(one, Connection)]
        for source in sources:
            if source.node_id not in flow.nodes:
                raise FlowFileError(f"{where} takes an input from {source.node_id!r}: no such node")
            block = flow.nodes[source.node_id].block
            _check_declared(source.handle, block, "output", f"{where}: from {source.node_id!r}")
        upstream[node.node_id] = [source.node_id for source in sources]
    try:
        graphlib.TopologicalSorter(upstream).prepare()
    except graphlib.CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise FlowFileError(f"{flow.path}: the connections form a cycle: {cycle}") from None


def _check_declared(handle: str, block: Block, kind: str, where: str) -> None:
    declared = block.inputs_def if kind == "input" else block.outputs_def
    if handle not in declared:
        known = ", ".join(declared) or "none"
        raise FlowFileError(
            f"{where}: block {block.name!r} declares no {kind} {handle!r} (it declares: {known})"
        )


def _mappings(value: Any, where: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise FlowFileError(f"{where}: not a list of mappings")
    return value


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise FlowFileError(f"{where}: {key!r} is not a text")
    return value
