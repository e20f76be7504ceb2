"""The keys that OOMOL's engine knows, and what it wants of each.

They are the records of `manifest_reader/src/manifest` of oomol/oocana-rust 0.31.3. The engine reads
each whole, also what it uses nowhere and the nodes that are ignored. A key that is not here may
hold what it will.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from scripts.flow.document import FlowFileError, Table

Read: TypeAlias = Callable[[Table, str], object]
"""Reads a key of a table, and refuses what the engine refuses there."""
Record: TypeAlias = Mapping[str, Read]


def check(table: Table, record: Record) -> None:
    """Refuse a table that has a key twice or with another type.

    Args:
        table: The table.
        record: What it is to be.

    Raises:
        FlowFileError: If the engine refuses it.
    """
    for key, read in record.items():
        read(table, key)


def handles(table: Table, key: str, record: Record | None = None) -> list[Table]:
    """The handles that a block declares; a group, under which Studio shows them, is none."""
    found = []
    for entry in table.tables_or_none(key):
        try:
            check(entry, record or HANDLE)
        except FlowFileError:
            if not entry.is_text("group"):
                raise
        else:
            found.append(entry)
    return found


def _each(
    record: Record, tables: Callable[[Table, str], list[Table]] = Table.tables_or_none
) -> Read:
    def read(table: Table, key: str) -> None:
        for one in tables(table, key):
            check(one, record)

    return read


def _one(record: Record) -> Read:
    def read(table: Table, key: str) -> None:
        if (one := table.table_or_none(key)) is not None:
            check(one, record)

    return read


def _executor(table: Table, key: str) -> None:
    executor = table.table(key)
    name = executor.text("name")
    if name not in _EXECUTORS:
        raise FlowFileError(
            f"{executor.where}: 'name' is {name!r}, not one of {', '.join(map(repr, _EXECUTORS))}"
        )
    if name in _WITH_ENTRY:
        check(executor, {"options": _one(_OPTIONS)})


def _path(table: Table, key: str) -> None:
    path = table.json(key)
    steps = path if isinstance(path, list) else [] if path is None else [path]
    if not all(isinstance(step, str) or (type(step) is int and step >= 0) for step in steps):
        raise FlowFileError(f"{table.where}: {key!r} is {path!r}, not strings and indexes")


def _task(table: Table, key: str) -> None:
    if not table.is_text(key):
        check(table.table(key), {**BLOCK, "description": Table.text_or_none})


_EXECUTORS = ("nodejs", "python", "connector", "shell", "rust")
_WITH_ENTRY = ("nodejs", "python")
_OPTIONS: Record = {
    "entry": Table.text_or_none,
    "function": Table.text_or_none,
    "spawn": Table.boolean,
}
HANDLE: Record = {
    "handle": Table.text,
    "description": Table.text_or_none,
    "json_schema": Table.json,
    "kind": Table.text_or_none,
    "nullable": Table.boolean_or_none,
    "value": Table.json,
}
"""An input that is declared, or a value of a value node."""
_OUTPUT: Record = {
    **{key: read for key, read in HANDLE.items() if key != "value"},
    "is_additional": Table.boolean,
    "_serialize_for_cache": Table.boolean,
}
_OVERRIDE: Record = {
    "path": _path,
    "schema": _one({"contentMediaType": Table.text_or_none, "type": Table.text_or_none}),
}
_INPUT_FROM: Record = {
    "handle": Table.text,
    "value": Table.json,
    "schema_overrides": _each(_OVERRIDE),
    "from_flow": _each({"input_handle": Table.text}),
    "from_node": _each({"node_id": Table.text, "output_handle": Table.text}),
    "serialize_for_cache": Table.boolean,
}
_EXPRESSION: Record = {
    "input_handle": Table.text,
    "operator": Table.text,
    "value": Table.json,
    "description": Table.text_or_none,
}
_CASE: Record = {
    "handle": Table.text,
    "description": Table.text_or_none,
    "logical": Table.text_or_none,
    "expressions": _each(_EXPRESSION, Table.tables),
}
_CONDITIONS: Record = {
    "description": Table.text_or_none,
    "cases": _each(_CASE),
    "default": _one({"handle": Table.text, "description": Table.text_or_none}),
}
_NODE: Record = {
    "node_id": Table.text,
    "timeout": Table.seconds_or_none,
    "description": Table.text_or_none,
    "inputs_from": _each(_INPUT_FROM),
    "concurrency": Table.integer,
    "progress_weight": Table.number,
    "ignore": Table.boolean,
}
_INJECTION: Record = dict.fromkeys(("package", "node_id", "script"), Table.text_or_none)
_DECLARING: Record = {**_NODE, "inputs_def": _each(HANDLE)}
NODES: Mapping[str, Record] = {
    "task": {
        **_DECLARING,
        "task": _task,
        "inject": _one(_INJECTION),
        "outputs_def": _each(_OUTPUT),
    },
    "subflow": _NODE,
    "slot": _NODE,
    "service": _NODE,
    "conditions": {
        **_DECLARING,
        "conditions": lambda table, key: check(table.table(key), _CONDITIONS),
    },
    "values": {
        "node_id": Table.text,
        "values": _each(HANDLE, Table.tables),
        "ignore": Table.boolean,
    },
}
"""The nodes by the key that says of which kind they are."""
BLOCK: Record = {
    "description": Table.scalar_or_none,
    "executor": _executor,
    "inputs_def": handles,
    "outputs_def": lambda table, key: handles(table, key, _OUTPUT),
    "additional_inputs": Table.json,
    "additional_outputs": Table.json,
}
"""The manifest of a task block."""
FLOW: Record = {
    "description": Table.scalar_or_none,
    "inputs_def": handles,
    "outputs_def": lambda table, key: handles(table, key, _OUTPUT),
    "outputs_from": _each(_INPUT_FROM),
    "injection": Table.table_or_none,
    "forward_previews": Table.check_list,
}
"""A flow, but for its nodes."""
