"""The condition of a node, as OOMOL's engine reads and decides it.

`manifest_reader/src/manifest/block/condition.rs` of oomol/oocana-rust is what the operators come
from. A value is compared as JSON: 0 is not 0.0 and not false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.flow.document import FlowFileError, Table


@dataclass(frozen=True)
class Expression:
    """A comparison of the input `handle` with a value; None stands for no value."""

    handle: str
    operator: str
    value: Any

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is true of some inputs; one that is missing is null."""
        return _OPERATORS[self.operator](values.get(self.handle), self.value)


@dataclass(frozen=True)
class Case:
    """An output, and the expressions of which one, or each, must hold for it to be taken."""

    handle: str
    needs_each: bool
    expressions: tuple[Expression, ...]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is taken; never without expressions."""
        held = [expression.holds(values) for expression in self.expressions]
        return bool(held) and (all(held) if self.needs_each else any(held))


@dataclass(frozen=True)
class Condition:
    """What a condition node does: it passes the value of its first input on to one output.

    Attributes:
        cases: The first that holds is taken.
        default: The output that is taken when none holds, or None.
        inputs_def: The declared inputs by handle.
    """

    cases: tuple[Case, ...]
    default: str | None
    inputs_def: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """What stands in the place of a block's name."""
        return "condition"

    @property
    def outputs_def(self) -> Mapping[str, Mapping[str, Any]]:
        """The outputs by handle."""
        handles = [case.handle for case in self.cases]
        handles += [] if self.default is None else [self.default]
        return {handle: {"handle": handle} for handle in handles}

    def outputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Decide.

        Args:
            values: The inputs by handle.

        Returns:
            The one output that is taken, with its value; empty if none is.
        """
        taken = next((case.handle for case in self.cases if case.holds(values)), self.default)
        first = next(iter(self.inputs_def), None)
        return {} if taken is None or first is None else {taken: values[first]}


def read_condition(conditions: Table, inputs_def: Mapping[str, Mapping[str, Any]]) -> Condition:
    """Read the `conditions` of a node.

    Args:
        conditions: The mapping.
        inputs_def: The inputs that the node declares.

    Raises:
        FlowFileError: If the engine would refuse it.
    """
    default = conditions.table_or_none("default")
    cases = tuple(_read_case(case) for case in conditions.tables_or_none("cases"))
    return Condition(cases, None if default is None else default.text("handle"), inputs_def)


def _read_case(case: Table) -> Case:
    logical = case.text_or_none("logical")
    if logical not in (None, "AND", "OR"):
        raise FlowFileError(f"{case.where}: 'logical' is {logical!r}, not 'AND' or 'OR'")
    expressions = tuple(_read_expression(one) for one in case.tables("expressions"))
    return Case(case.text("handle"), logical == "AND", expressions)


def _read_expression(expression: Table) -> Expression:
    operator = expression.text("operator")
    if operator not in _OPERATORS:
        known = ", ".join(map(repr, _OPERATORS))
        raise FlowFileError(f"{expression.where}: the operator is {operator!r}, not one of {known}")
    return Expression(expression.text("input_handle"), operator, expression.json("value"))


def _same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same to the engine."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def _among(value: Any, values: Iterable[Any]) -> bool:
    return any(_same(value, one) for one in values)


def _ordered(holds: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        return _is_number(left) and _is_number(right) and holds(float(left), float(right))

    return compare


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _contains(left: Any, right: Any) -> bool | None:
    """Whether a string or a list contains a value; None if the question has no meaning."""
    if right is None:
        return None
    if isinstance(left, list):
        return _among(right, left)
    return right in left if isinstance(left, str) and isinstance(right, str) else None


def _has_key(left: Any, right: Any) -> bool | None:
    return right in left if isinstance(left, dict) and isinstance(right, str) else None


def _has_value(left: Any, right: Any) -> bool | None:
    if right is None or not isinstance(left, dict):
        return None
    return _among(right, left.values())


def _is_empty(value: Any) -> bool | None:
    return not value if value is None or isinstance(value, str | list | dict) else None


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: right is not None and _same(left, right),
    "!=": lambda left, right: right is not None and not _same(left, right),
    ">": _ordered(lambda left, right: left > right),
    "<": _ordered(lambda left, right: left < right),
    ">=": _ordered(lambda left, right: left >= right),
    "<=": _ordered(lambda left, right: left <= right),
    "is null": lambda left, _: left is None,
    "is not null": lambda left, _: left is not None,
    "is true": lambda left, _: left is True,
    "is false": lambda left, _: left is False,
    "contains": lambda left, right: _contains(left, right) is True,
    "not contains": lambda left, right: _contains(left, right) is False,
    "is empty": lambda left, _: _is_empty(left) is True,
    "is not empty": lambda left, _: _is_empty(left) is False,
    "in": lambda left, right: isinstance(right, list) and _among(left, right),
    "not in": lambda left, right: isinstance(right, list) and not _among(left, right),
    "has key": lambda left, right: _has_key(left, right) is True,
    "not has key": lambda left, right: _has_key(left, right) is False,
    "has value": lambda left, right: _has_value(left, right) is True,
    "not has value": lambda left, right: _has_value(left, right) is False,
    "starts with": lambda left, right: (
        isinstance(left, str) and isinstance(right, str) and left.startswith(right)
    ),
    "ends with": lambda left, right: (
        isinstance(left, str) and isinstance(right, str) and left.endswith(right)
    ),
}
