"""Read a YAML document as OOMOL's engine reads it, and say where it would refuse it.

The engine (oomol/oocana-rust) reads YAML 1.2 into typed records: a key that it knows may stand once
and has one type, keys are text, numbers have 64 bits. PyYAML composes the document here; what its
own YAML 1.1 would make of a scalar (`on`, `12:30`, `0o17`) counts nowhere.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

_CORE = "tag:yaml.org,2002:"
_TEXT, _NULL, _INTEGER, _FLOAT, _BOOLEAN = (
    _CORE + kind for kind in ("str", "null", "int", "float", "bool")
)
_WORDS = {_TEXT: "a string", _NULL: "null", _INTEGER: "an integer", _FLOAT: "a number"}
_WORDS |= {_BOOLEAN: "true or false"}
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_LINE_SEPARATORS = str.maketrans("", "", "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}")
_INTEGERS_OF_64_BITS = range(-(2**63), 2**64)


class FlowFileError(Exception):
    """A flow or block manifest that cannot be run; the message names the file and the place."""


class _EngineLoader(yaml.SafeLoader):
    """Knows the plain scalars of the engine's YAML, of which the rest is text."""


_EngineLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOLEAN, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (
        _INTEGER,
        r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)",
        list("-+0123456789"),
    ),
    (
        _FLOAT,
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*|(?=[eE])))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\+?\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _EngineLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


class Table:
    """A mapping of a document; each key is read as what the engine takes it for.

    A key that stands twice, or has a value of another type, raises `FlowFileError`.

    Args:
        node: The mapping.
        where: The file and the place in it, for messages.
    """

    def __init__(self, node: yaml.MappingNode, where: str) -> None:
        self._node = node
        self.where = where

    def __contains__(self, key: str) -> bool:
        return any(name.value == key for name, _ in self._node.value)

    def called(self, name: str) -> Table:
        """The same mapping, with a name beside its place."""
        return Table(self._node, f"{self.where} ({name})")

    def text(self, key: str) -> str:
        """A string that must be there."""
        found = self._scalar(key, _TEXT)
        if found is None:
            raise FlowFileError(f"{self.where}: {key!r} is missing")
        return found

    def text_or_none(self, key: str) -> str | None:
        """A string, null or nothing."""
        return self._scalar(key, _TEXT, _NULL)

    def is_text(self, key: str) -> bool:
        """Whether a string is there."""
        node = self._value(key)
        return node is not None and node.tag == _TEXT

    def seconds_or_none(self, key: str) -> int | None:
        """An integer that is not negative, null or nothing."""
        text = self._scalar(key, _INTEGER, _NULL)
        if text is None or (value := int(text, 0)) in range(2**64):
            return None if text is None else value
        raise FlowFileError(f"{self.where}: {key!r} is {value}, not a whole number of seconds")

    def boolean(self, key: str) -> bool:
        """True or false; false for nothing."""
        return (self._scalar(key, _BOOLEAN) or "false").lower() == "true"

    def boolean_or_none(self, key: str) -> bool | None:
        """True, false, null or nothing."""
        text = self._scalar(key, _BOOLEAN, _NULL)
        return None if text is None else text.lower() == "true"

    def check_number(self, key: str, *, whole: bool = False) -> None:
        """Refuse anything but a number or nothing."""
        self._scalar(key, _INTEGER, *(() if whole else (_FLOAT,)))

    def table_or_none(self, key: str) -> Table | None:
        """A mapping, null or nothing."""
        node = self._value(key)
        return None if node is None or node.tag == _NULL else self._nested(node, key)

    def tables(self, key: str) -> list[Table]:
        """A list of mappings; empty for null or nothing."""
        node = self._value(key)
        if node is None or node.tag == _NULL:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise FlowFileError(f"{self.where}: {key!r} is {_kind(node)}, not a list of mappings")
        return [self._nested(one, key) for one in node.value]

    def json(self, key: str) -> Any:
        """Any value, as the engine passes it on; null for nothing."""
        node = self._value(key)
        return None if node is None else _json(node, f"{self.where}: {key}", [])

    def _value(self, key: str) -> yaml.Node | None:
        found = [value for name, value in self._node.value if name.value == key]
        if len(found) > 1:
            raise FlowFileError(
                f"{self.where}: {key!r} is there twice, which OOMOL refuses: "
                f"remove that of line {found[1].start_mark.line + 1}"
            )
        return found[0] if found else None

    def _scalar(self, key: str, *tags: str) -> str | None:
        node = self._value(key)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag not in tags:
            raise FlowFileError(
                f"{self.where}: {key!r} is {_kind(node)}, not {_WORDS[tags[0]]}, "
                "which OOMOL refuses"
            )
        return None if node.tag == _NULL else str(node.value)

    def _nested(self, node: yaml.Node, key: str) -> Table:
        where = f"{self.where}: {key}"
        if not isinstance(node, yaml.MappingNode):
            raise FlowFileError(f"{_at(where, node)} is {_kind(node)}, not a mapping")
        for name, _ in node.value:
            _refuse_other_keys(name, where)
        return Table(node, _at(where, node))


def read_document(file: Path) -> Table:
    """Read a flow or a manifest.

    Args:
        file: The file, which is UTF-8.

    Returns:
        Its mapping.

    Raises:
        FlowFileError: If it cannot be read, is no YAML that the engine reads, or no mapping.
    """
    try:
        text = file.read_bytes().decode("utf-8").translate(_LINE_SEPARATORS)
    except (OSError, UnicodeDecodeError) as error:
        raise FlowFileError(f"cannot read {file}: {error}") from error
    if has_bom := text.startswith(_BOM):
        # The engine's parser takes it for one column, so that a second key stands before the first.
        text = " " + text[1:]
    try:
        node = _EngineLoader(text).get_single_node()
    except yaml.YAMLError as error:
        hint = ": save it without its byte order mark" if has_bom else ""
        raise FlowFileError(f"{file} is not YAML that OOMOL reads{hint}: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise FlowFileError(f"{file}: not a mapping")
    return Table(node, str(file))


def _json(node: yaml.Node, where: str, around: list[yaml.Node]) -> Any:
    if node in around:
        raise FlowFileError(f"{_at(where, node)} has an alias that contains itself")
    inside = [*around, node]
    match node:
        case yaml.ScalarNode():
            return _plain(node, where)
        case yaml.SequenceNode(tag=tag) if tag == _CORE + "seq":
            return [_json(one, where, inside) for one in node.value]
        case yaml.MappingNode(tag=tag) if tag == _CORE + "map":
            for key, _ in node.value:
                _refuse_other_keys(key, where)
            # Of a key that a value has twice, the last counts.
            return {key.value: _json(value, where, inside) for key, value in node.value}
    raise FlowFileError(f"{_at(where, node)} has the tag {node.tag!r}, which OOMOL does not read")


def _plain(node: yaml.ScalarNode, where: str) -> Any:
    match node.tag:
        case tag if tag == _TEXT:
            return node.value
        case tag if tag == _NULL:
            return None
        case tag if tag == _BOOLEAN:
            return node.value.lower() == "true"
        case tag if tag == _INTEGER:
            value = int(node.value, 0)
            if value not in _INTEGERS_OF_64_BITS:
                raise FlowFileError(
                    f"{_at(where, node)}: {node.value} has more than 64 bits, which OOMOL refuses: "
                    "write it as a string, in quotes"
                )
            return value
        case tag if tag == _FLOAT:
            return _number(node.value)
    raise FlowFileError(f"{_at(where, node)} has the tag {node.tag!r}, which OOMOL does not read")


def _number(text: str) -> float | str | None:
    if text.lstrip("+-").startswith((".i", ".I", ".n", ".N")):
        return None  # JSON, which values become, has neither infinity nor NaN.
    number = float(text)
    return text if math.isinf(number) else number


def _refuse_other_keys(key: yaml.Node, where: str) -> None:
    if key.tag != _TEXT:
        named = f" {key.value!r}" if isinstance(key, yaml.ScalarNode) else ""
        raise FlowFileError(
            f"{_at(where, key)}: the key{named} is {_kind(key)}, which OOMOL refuses: "
            "put it in quotes"
        )


def _kind(node: yaml.Node) -> str:
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
    return _WORDS.get(node.tag, f"tagged {node.tag!r}")


def _at(where: str, node: yaml.Node) -> str:
    return f"{where}, line {node.start_mark.line + 1}"
