"""One JSON document out of the specs in `openapi/`, as the local runner serves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FILE = Path("local_runner", "http", "openapi.json")
"""Where it is, in the project folder."""


def bundled(root: Path) -> str:
    """The text of `FILE`: the API of script-runner, and what the local runner adds to it.

    Args:
        root: The project folder that holds `openapi/`.
    """
    wire, added = (
        yaml.safe_load((root / "openapi" / name).read_text(encoding="utf-8"))
        for name in ("script-runner.yaml", "local-runner.yaml")
    )
    for kind, parts in added["components"].items():
        # What both have is the same: the second refers to the first for it.
        wire["components"][kind] = {**parts, **wire["components"].get(kind, {})}
    wire["paths"] |= added["paths"]
    wire["tags"] += added["tags"]
    return json.dumps(_local(wire), ensure_ascii=False, indent=1) + "\n"


def _local(node: Any) -> Any:
    """Have references point into the document itself."""
    match node:
        case dict():
            whole = {key: _local(value) for key, value in node.items()}
            if "$ref" in whole:
                whole["$ref"] = f"#{whole['$ref'].partition('#')[2]}"
            return whole
        case list():
            return [_local(value) for value in node]
    return node
