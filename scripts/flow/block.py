"""Find a block and read its manifest, as OOMOL's engine does.

`manifest_reader/src/path_finder` of oomol/oocana-rust says where it looks. Only blocks that run on
the Python executor are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.flow.document import FlowFileError, Table, read_document
from scripts.flow.records import BLOCK, check, handles

PROJECT = Path(__file__).resolve().parents[2]
"""The package that these scripts belong to; its blocks are found by its name from any flow."""

ENDINGS = (".oo.yaml", ".oo.yml")
"""How the files of OOMOL end; the first is looked for first."""


@dataclass(frozen=True)
class Block:
    """A task block, in the words of its manifest.

    Attributes:
        name: What it is called in the flow, without the package.
        folder: The folder in which its code is.
        package: The root of the package whose executor runs it.
        manifest: Its `block.oo.yaml` or `task.oo.yaml`; None for a task that the flow holds.
        executor: The manifest's `executor`, for the executor.
        inputs_def: The declared inputs by handle, each as the engine sends it.
        outputs_def: The declared outputs by handle, each as the engine sends it.
        takes_more: Whether a node may declare more inputs, and more outputs.
    """

    name: str
    folder: Path
    package: Path
    manifest: Path | None
    executor: Mapping[str, Any]
    inputs_def: Mapping[str, Mapping[str, Any]]
    outputs_def: Mapping[str, Mapping[str, Any]]
    takes_more: tuple[bool, bool] = (False, False)

    def with_additional(self, node: Table) -> Block:
        """The block of a node, which may declare inputs and outputs of its own."""
        inputs, outputs = read_inputs(node), read_outputs(node)
        more_inputs, more_outputs = self.takes_more
        return replace(
            self,
            inputs_def=_extended(self.inputs_def, inputs if more_inputs else {}),
            outputs_def=_extended(self.outputs_def, outputs if more_outputs else {}),
        )


def find_block(task: str, flow_folder: Path, where: str) -> tuple[Path, Path]:
    """Find the manifest of a block.

    Args:
        task: `self::NAME`, `PACKAGE::NAME`, or a path.
        flow_folder: The folder of the flow that names it.
        where: The place, for messages.

    Returns:
        The manifest, and the root of the package whose executor runs the block.

    Raises:
        FlowFileError: If there is none.
    """
    own = flow_folder.parent.parent
    scope, colons, name = task.partition("::")
    if not colons or not scope or not name or task.startswith(("/", "./", "../")):
        root, candidates = own, [Path(os.path.normpath(flow_folder / task))] * 2
    else:
        root = _package(scope, own, where)
        candidates = [root / "blocks" / name, root / "tasks" / name]
    for path, kind in zip(candidates, ("block", "task"), strict=True):
        for ending in ENDINGS:
            if path.is_file() and path.name.endswith(ending):
                return path, root
            for file in (path / f"{kind}{ending}", path.with_name(path.name + ending)):
                if file.is_file():
                    return file, root
    tried = " nor ".join(
        str(path / f"{kind}{ENDINGS[0]}")
        for path, kind in zip(candidates, ("block", "task"), strict=True)
    )
    raise FlowFileError(f"{where}: no block {task!r}, neither {tried}")


def _package(name: str, own: Path, where: str) -> Path:
    if name == "self":
        return own
    for root in (own, PROJECT):
        file = root / "package.oo.yaml"
        if file.is_file() and read_document(file).text_or_none("name") == name:
            return root
    raise FlowFileError(
        f"{where}: the package {name!r} is not here, only the flow's own and that of "
        f"{PROJECT / 'package.oo.yaml'}: run the flow in OOMOL, or name the block by its path"
    )


def read_block(
    table: Table, name: str, folder: Path, package: Path, manifest: Path | None = None
) -> Block:
    """Read what a manifest says, or a task that a flow holds itself.

    Args:
        table: The manifest.
        name: What the block is called.
        folder: The folder in which its code is.
        package: The root of the package whose executor runs it.
        manifest: The file, if it has one of its own.

    Raises:
        FlowFileError: If the engine would refuse it, or the Python executor cannot run it.
    """
    check(table, BLOCK)
    more_inputs, more_outputs = (
        not (given is None or given is False)
        for given in map(table.json, ("additional_inputs", "additional_outputs"))
    )
    return Block(
        name=name,
        folder=folder,
        package=package,
        manifest=manifest,
        executor=_read_executor(table.table("executor")),
        inputs_def=read_inputs(table),
        outputs_def=read_outputs(table),
        # Without outputs of its own the engine gives a block no others either.
        takes_more=(more_inputs, more_outputs and table.json("outputs_def") is not None),
    )


def _extended(
    declared: Mapping[str, Mapping[str, Any]], more: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any]]:
    added = {handle: {**one, "is_additional": True} for handle, one in more.items()}
    return {**added, **declared}


def read_inputs(table: Table) -> dict[str, Mapping[str, Any]]:
    """Read `inputs_def`: by handle, each as the engine sends it."""
    read: dict[str, Mapping[str, Any]] = {}
    for entry in handles(table, "inputs_def"):
        handle = _read_handle(entry)
        if "value" in entry:
            handle["value"] = entry.json("value")
        elif handle.get("nullable"):
            handle["value"] = None
        read[handle["handle"]] = handle
    return read


def read_outputs(table: Table) -> dict[str, Mapping[str, Any]]:
    """Read `outputs_def`: by handle, each as the engine sends it."""
    read = map(_read_handle, handles(table, "outputs_def"))
    return {handle["handle"]: handle for handle in read}


def _read_handle(entry: Table) -> dict[str, Any]:
    handle = {
        "handle": entry.text("handle"),
        "description": entry.text_or_none("description"),
        "json_schema": entry.json("json_schema"),
        "kind": entry.text_or_none("kind"),
        "nullable": entry.boolean_or_none("nullable"),
    }
    return {name: value for name, value in handle.items() if value is not None}


def _read_executor(executor: Table) -> Mapping[str, Any]:
    name = executor.text("name")
    if name != "python":
        raise FlowFileError(
            f"{executor.where}: the block has the executor {name!r}, and only Python blocks run "
            "here: run the flow in OOMOL"
        )
    options = executor.table_or_none("options")
    if options is None or options.text_or_none("entry") is None:
        # Without options the executor's thread dies silently and the block never ends.
        raise FlowFileError(
            f"{executor.where}: options.entry is missing: name the Python file of the block"
        )
    function = options.text_or_none("function")
    return {
        "name": name,
        "options": {
            "entry": options.text("entry"),
            "spawn": options.boolean("spawn"),
            **({} if function is None else {"function": function}),
        },
    }
