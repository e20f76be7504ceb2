"""The keys of a configuration as a document has them, and as the model of it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.docs.markdown import code_of, section_of

DASH = "\N{EN DASH}"
"""Between the ends of a range, and in the place of a default that is not there."""


def documented_keys(path: Path, title: str) -> dict[str, tuple[str, str]]:
    """The type and the default of each key in the table of a section."""
    (table,) = section_of(path, title).tables
    return {code_of(key)[0]: (kind, default) for key, kind, default, _ in table[1:]}


def modelled_keys(prefix: str, model: Any) -> dict[str, tuple[str, str]]:
    """The same of each field of a pydantic model; a model that is always there has keys itself."""
    schema = model.model_json_schema()
    found = {}
    for name, field in schema["properties"].items():
        if "$ref" in field:
            continue
        found[prefix + name] = (_kind_of(field), _default_of(field))
    return found


def _kind_of(field: dict[str, Any]) -> str:
    """The type of a field in the words of the document."""
    field = field.get("anyOf", [field])[0]
    least, most = field.get("minimum"), field.get("maximum")
    match field:
        case {"$ref": _}:
            return "object"
        case {"enum": [*words]}:
            return ", ".join(f"`{word}`" for word in words)
        case {"type": "integer" | "number"}:
            return f"≥ {least:g}" if most is None else f"{least:g}{DASH}{most:.0f}"
        case {"type": "array", "items": {"type": "string"}}:
            return "strings"
        case _:
            return str(field["type"])


def _default_of(field: dict[str, Any]) -> str:
    """The default of a field as the document writes it."""
    default = field.get("default")
    lists_models = "$ref" in field.get("items", {})
    if default is None or lists_models:
        return DASH
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{json.dumps(default)}`"


def assert_agree(
    documented: dict[str, tuple[str, str]], modelled: dict[str, tuple[str, str]]
) -> None:
    """The document has the keys of the model, in their order, with their types and defaults."""
    assert list(documented) == list(modelled)
    for key, (kind, default) in documented.items():
        # The model has a path as a string.
        assert kind.replace("path", "string") == modelled[key][0], key
        if default == "`runner.defaultMode`":
            default = DASH
        assert default == modelled[key][1], key
