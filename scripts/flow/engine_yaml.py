"""The YAML that OOMOL's engine reads, and the JSON that it makes of a value.

The engine (oomol/oocana-rust) reads YAML 1.2 with serde_yaml 0.9, and the rules are those of its
`de.rs`. Both stand on libyaml, which PyYAML composes the document with here; what its own YAML 1.1
would make of a scalar (`on`, `12:30`, `0o17`) counts nowhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import yaml

_CORE = "tag:yaml.org,2002:"
TEXT, NULL, INTEGER, FLOAT, BOOLEAN = (
    _CORE + kind for kind in ("str", "null", "int", "float", "bool")
)
"""The tags of scalars."""
WORDS = {TEXT: "a string", NULL: "null", INTEGER: "an integer", FLOAT: "a number"}
WORDS |= {BOOLEAN: "true or false"}
_PATTERNS = {
    NULL: (r"~|null|Null|NULL|", "~nN"),
    BOOLEAN: (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    INTEGER: (r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)", "-+0123456789"),
    FLOAT: (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*|(?=[eE])))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""What a plain scalar looks like that is no string, and how it begins."""
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
_LINE_SEPARATORS = str.maketrans("", "", "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}")
_INTEGERS_OF_64_BITS = range(-(2**63), 2**64)
_INTEGERS_OF_128_BITS = range(-(2**127), 2**128)
_DEEPEST = 126
"""How deep a node may be nested: 128 levels for the engine, of which the document has two."""
_DEEPEST_COMPOSED = 1000
"""The same where the engine does not care, under keys that it does not know."""


class FlowFileError(Exception):
    """A flow or block manifest that cannot be run; the message names the file and the place."""


if not yaml.__with_libyaml__:
    raise ImportError("PyYAML was built without libyaml, which flows need: install its wheel")


class _EngineLoader(yaml.CSafeLoader):
    """Knows the plain scalars of the engine's YAML, of which the rest is text."""

    _depth = 0

    def descend_resolver(self, *_: object) -> None:
        """Go into a node: libyaml has no limit of its own, but a stack that overflows."""
        self._depth += 1
        if self._depth > _DEEPEST_COMPOSED:
            raise RecursionError

    def ascend_resolver(self) -> None:
        """Leave it."""
        self._depth -= 1


_EngineLoader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _PATTERNS.items():
    # An empty scalar is null, and begins with nothing.
    _firsts = [*_first, ""] if _tag == NULL else [*_first]
    _EngineLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _firsts)


def compose(text: str) -> yaml.Node | None:
    """Compose a document.

    Args:
        text: What the file holds.

    Returns:
        Its root, or None if there is none.

    Raises:
        FlowFileError: If the engine reads no YAML there.
    """
    text = text.translate(_LINE_SEPARATORS)
    if has_bom := text.startswith(_BOM):
        # The engine's parser takes it for one column, so that a second key stands before the first.
        text = " " + text[1:]
    try:
        node: yaml.Node | None = _EngineLoader(text).get_single_node()
    except yaml.YAMLError as error:
        hint = ": save it without its byte order mark" if has_bom else ""
        raise FlowFileError(f"is not YAML that OOMOL reads{hint}: {error}") from error
    except RecursionError:
        raise FlowFileError("is nested deeper than OOMOL reads") from None
    return node


def refuse_unreadable(node: yaml.Node, where: str, around: tuple[yaml.Node, ...] = ()) -> None:
    """Refuse what the engine reads nowhere in a node or a handle, not even where it knows no key.

    Args:
        node: The node of the document.
        where: The place, for messages.
        around: What it is in.

    Raises:
        FlowFileError: If there is such a thing.
    """
    if node in around:
        raise FlowFileError(f"{at(where, node)} has an alias that contains itself")
    if len(around) > _DEEPEST:
        raise FlowFileError(f"{at(where, node)} is nested deeper than OOMOL reads")
    if not node.tag.startswith(_CORE):
        raise FlowFileError(
            f"{at(where, node)} has the tag {node.tag!r}, which OOMOL does not read"
        )
    if isinstance(node, yaml.ScalarNode):
        _plain(node, where)
        return
    inside: Iterable[yaml.Node] = node.value
    if isinstance(node, yaml.MappingNode):
        inside = (part for pair in node.value for part in pair)
    for one in inside:
        refuse_unreadable(one, where, (*around, node))


def json_of(node: yaml.Node, where: str) -> Any:
    """The value that the engine passes on, of a node that `refuse_unreadable` has let pass.

    Args:
        node: The node of the document.
        where: The place, for messages.

    Raises:
        FlowFileError: If a key in it is no string.
    """
    match node:
        case yaml.SequenceNode():
            return [json_of(one, where) for one in node.value]
        case yaml.MappingNode():
            for key, _ in node.value:
                refuse_other_keys(key, where)
            # Of a key that a value has twice, the last counts.
            return {key.value: json_of(value, where) for key, value in node.value}
        case yaml.ScalarNode():
            return _plain(node, where)


def refuse_other_keys(key: yaml.Node, where: str) -> None:
    """Refuse a key that is no string."""
    if key.tag != TEXT:
        named = f" {key.value!r}" if isinstance(key, yaml.ScalarNode) else ""
        raise FlowFileError(
            f"{at(where, key)}: the key{named} is {kind_of(key)}, which is no key for OOMOL: "
            "put it in quotes"
        )


def kind_of(node: yaml.Node) -> str:
    """What a node is, in words."""
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
    return WORDS.get(node.tag, f"tagged {node.tag!r}")


def at(where: str, node: yaml.Node) -> str:
    """A place, with the line of a node in it."""
    return f"{where}, line {node.start_mark.line + 1}"


def _plain(node: yaml.ScalarNode, where: str) -> Any:
    text = node.value
    decimal = node.tag == FLOAT and re.fullmatch("[-+]?[0-9]+", text)
    if node.tag in _PATTERNS and not (decimal or re.fullmatch(_PATTERNS[node.tag][0], text)):
        raise FlowFileError(f"{at(where, node)}: {text!r} is not {kind_of(node)}, as its tag says")
    match node.tag:
        case tag if tag == NULL:
            return None
        case tag if tag == BOOLEAN:
            return text.lower() == "true"
        case tag if tag == INTEGER:
            return _integer(node, where)
        case tag if tag == FLOAT:
            return _number(text)
    return text


def _integer(node: yaml.ScalarNode, where: str) -> int | float | str | None:
    value = int(node.value, 0)
    if value in _INTEGERS_OF_64_BITS:
        return value
    if value in _INTEGERS_OF_128_BITS:
        raise FlowFileError(
            f"{at(where, node)}: {node.value} has more than 64 bits, which OOMOL refuses: "
            "write it as a string, in quotes"
        )
    return _number(node.value) if node.value.lstrip("-+").isdigit() else node.value


def _number(text: str) -> float | str | None:
    if text.lstrip("+-").startswith((".i", ".I", ".n", ".N")):
        return None  # JSON, which values become, has neither infinity nor NaN.
    number = float(text)
    return text if math.isinf(number) else number
