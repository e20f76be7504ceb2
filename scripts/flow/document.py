"""A flow or a manifest as OOMOL's engine reads it: typed records, of which a key may stand once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from scripts.flow.engine_yaml import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    NULL,
    TEXT,
    WORDS,
    FlowFileError,
    at,
    compose,
    json_of,
    kind_of,
    refuse_other_keys,
    refuse_unreadable,
)

__all__ = ["FlowFileError", "Table", "read_document"]


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
        found = self._scalar(key, TEXT)
        if found is None:
            raise self._missing(key)
        return found

    def text_or_none(self, key: str) -> str | None:
        """A string, null or nothing."""
        return self._scalar(key, TEXT, NULL)

    def scalar_or_none(self, key: str) -> str | None:
        """A string or what else has no parts, as a string; null or nothing."""
        return self._scalar(key, TEXT, NULL, INTEGER, FLOAT, BOOLEAN)

    def is_text(self, key: str) -> bool:
        """Whether a string is there."""
        node = self._value(key)
        return node is not None and node.tag == TEXT

    def seconds_or_none(self, key: str) -> int | None:
        """An integer of 64 bits that is not negative, null or nothing."""
        return self._integer(key, range(2**64), "a whole number of seconds", NULL)

    def integer(self, key: str) -> int | None:
        """An integer of 32 bits, or nothing."""
        return self._integer(key, range(-(2**31), 2**31), "an integer of 32 bits")

    def number(self, key: str) -> float | None:
        """A number, or nothing."""
        text = self._scalar(key, FLOAT, INTEGER)
        return None if text is None else self.json(key)

    def boolean(self, key: str) -> bool:
        """True or false; false for nothing."""
        return (self._scalar(key, BOOLEAN) or "false").lower() == "true"

    def boolean_or_none(self, key: str) -> bool | None:
        """True, false, null or nothing."""
        text = self._scalar(key, BOOLEAN, NULL)
        return None if text is None else text.lower() == "true"

    def table(self, key: str) -> Table:
        """A mapping that must be there."""
        found = self.table_or_none(key)
        if found is None:
            raise self._missing(key)
        return found

    def table_or_none(self, key: str) -> Table | None:
        """A mapping, null or nothing."""
        node = self._value(key)
        return None if node is None or node.tag == NULL else self._nested(node, key)

    def tables(self, key: str) -> list[Table]:
        """A list of mappings that must be there."""
        nodes = self._list_or_none(key, "a list of mappings")
        if nodes is None:
            raise self._missing(key)
        return [self._nested(one, key) for one in nodes]

    def tables_or_none(self, key: str) -> list[Table]:
        """A list of mappings; empty for null or nothing."""
        nodes = self._list_or_none(key, "a list of mappings") or []
        return [self._nested(one, key) for one in nodes]

    def check_list(self, key: str) -> None:
        """Refuse anything but a list, null or nothing."""
        self._list_or_none(key, "a list")

    def json(self, key: str) -> Any:
        """Any value, as the engine passes it on; null for nothing."""
        node = self._value(key)
        where = f"{self.where}: {key}"
        if node is None:
            return None
        refuse_unreadable(node, where)
        return json_of(node, where)

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
                f"{self.where}: {key!r} is {kind_of(node)}, not {WORDS[tags[0]]}, "
                "which OOMOL refuses"
            )
        return None if node.tag == NULL else str(node.value)

    def _integer(self, key: str, allowed: range, what: str, *tags: str) -> int | None:
        text = self._scalar(key, INTEGER, *tags)
        if text is None or (value := int(text, 0)) in allowed:
            return None if text is None else value
        raise FlowFileError(f"{self.where}: {key!r} is {value}, not {what}")

    def _list_or_none(self, key: str, what: str) -> list[yaml.Node] | None:
        node = self._value(key)
        if node is None or node.tag == NULL:
            return None
        if not isinstance(node, yaml.SequenceNode):
            raise FlowFileError(f"{self.where}: {key!r} is {kind_of(node)}, not {what}")
        nodes: list[yaml.Node] = node.value
        return nodes

    def _nested(self, node: yaml.Node, key: str) -> Table:
        where = f"{self.where}: {key}"
        if not isinstance(node, yaml.MappingNode):
            raise FlowFileError(f"{at(where, node)} is {kind_of(node)}, not a mapping")
        refuse_unreadable(node, where)
        for name, _ in node.value:
            refuse_other_keys(name, where)
        return Table(node, at(where, node))

    def _missing(self, key: str) -> FlowFileError:
        return FlowFileError(f"{self.where}: {key!r} is missing")


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
        node = compose(file.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FlowFileError(f"cannot read {file}: {error}") from error
    except FlowFileError as error:
        raise FlowFileError(f"{file} {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise FlowFileError(f"{file}: not a mapping")
    for key, _ in node.value:
        # Elsewhere a key must be a string.
        if not isinstance(key, yaml.ScalarNode):
            refuse_other_keys(key, str(file))
    return Table(node, str(file))
