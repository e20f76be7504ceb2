"""Whether inputs can be sent, and whether a response is what the spec says it is.

The generated client checks of a response only that its fields exist.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import re
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeGuard

import attrs

from generated_client import models
from script_runner.errors import InvalidInput
from script_runner.logs import STREAMS, Stream

REPEATED = ("job_id", "stream", "script_id")
"""What a response repeats of the arguments of its operation."""

_SPEC_TYPES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
    type(None): "null",
    datetime.datetime: "date-time",
}
"""What the spec calls the types of Python."""


def string(name: str, value: object) -> str:
    """Check a string that must not be empty.

    Raises:
        InvalidInput: If it is not a string, is empty, or cannot be written as UTF-8.
    """
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} must be a string that is not empty, got {_shown(value)}")
    return _encodable(name, value)


def strings(name: str, value: object) -> list[str]:
    """Check a list of strings.

    Raises:
        InvalidInput: If it is not a list, or an item is no string or cannot be written as UTF-8.
    """
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{name} must be an array of strings, got {_shown(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidInput(f"{name}[{index}] must be a string, got {_shown(item)}")
        _encodable(f"{name}[{index}]", item)
    return list(value)


def whole_number(name: str, value: object, *, least: int) -> int:
    """Check a whole number; `100.0` is one.

    Raises:
        InvalidInput: If it is no number, has a fraction, or is less than `least`.
    """
    if _is_number(value) and abs(value) != math.inf and value == int(value) >= least:
        return int(value)
    raise InvalidInput(f"{name} must be a whole number of {least} or more, got {_shown(value)}")


def seconds(name: str, value: object, *, most: float = math.inf) -> float:
    """Check a number of seconds, 0 or more.

    Raises:
        InvalidInput: If it is no number, or not between 0 and `most`.
    """
    if _is_number(value) and (0 <= value <= min(most, sys.float_info.max) or value == most):
        return float(value)
    limit = "" if most == math.inf else f", at most {most:.0f}"
    raise InvalidInput(f"{name} must be a number of seconds, 0 or more{limit}, got {_shown(value)}")


def stream(name: str, value: object) -> Stream:
    """Check the name of a stream.

    Raises:
        InvalidInput: If it is neither stdout nor stderr.
    """
    for known in STREAMS:
        if value == known:
            return known
    raise InvalidInput(f"{name} must be stdout or stderr, got {_shown(value)}")


def path_argument(name: str, value: object) -> str:
    """Check an argument that becomes a part of the path of a request, such as a job id.

    Raises:
        InvalidInput: See `string`; also if it is `.` or `..`, which would make another path.
    """
    if value in (".", ".."):
        raise InvalidInput(f"{name} must not be {value!r}, which would be another path")
    return string(name, value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _encodable(name: str, value: str) -> str:
    with contextlib.suppress(UnicodeEncodeError):
        value.encode()
        return value
    # Outside of the handling of that error, which holds the text: it may be a URL with credentials.
    raise InvalidInput(f"{name} has half a surrogate pair, which cannot be sent: remove it")


def _shown(value: object) -> str:
    try:
        shown = "null" if value is None else repr(value)
    except (ValueError, RecursionError):
        # A number of more than 4300 digits, or what is nested too deep.
        shown = f"a value of type {type(value).__name__}"
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def check_response(model: Any, asked: Mapping[str, object]) -> None:
    """Check a response against the spec and against what was asked for.

    Args:
        model: An instance of a class of `generated_client.models`. A JSON number without a
            fraction, such as `1e3`, is made the integer that it is.
        asked: The arguments of the operation by name. Those in `REPEATED` must be the same in the
            response: it could be meant for somebody else.

    Raises:
        ValueError: For the first field that is not as described, by the name it has on the wire.
    """
    check_types(model)
    for name in REPEATED:
        if name in asked and getattr(model, name, asked[name]) != asked[name]:
            wanted, got = _shown(asked[name]), _shown(getattr(model, name))
            raise ValueError(f"field {wire_name(name)} should be {wanted}, is {got}")


def check_types(model: Any) -> None:
    """Check the type of every described field of a generated model, nested models included.

    Raises:
        ValueError: For the first field whose value is not of its type, or is a string with half a
            surrogate pair.
    """
    for name, allowed in _allowed_types(model.__class__):
        value = getattr(model, name)
        kind = type(value)
        if kind not in allowed:
            if kind is not float or int not in allowed or not value.is_integer():
                wanted = " or ".join(sorted(map(_spec_type, allowed), key="null".__eq__))
                raise ValueError(
                    f"field {wire_name(name)} should be {wanted}, is {_spec_type(kind)}"
                )
            setattr(model, name, int(value))
        elif kind is str:
            if not value.isascii():
                # Refuses what UTF-8 refuses, and takes a quarter of the time.
                value.encode("utf-16-le")
        elif attrs.has(kind):
            check_types(value)


def wire_name(name: str) -> str:
    """What a field of a model is called on the wire: `stdout_preview` is `stdoutPreview`."""
    return re.sub(r"_(.)", lambda part: part[1].upper(), name)


def _spec_type(kind: type) -> str:
    return _SPEC_TYPES.get(kind, "object")


@functools.cache
def _allowed_types(model: type[Any]) -> list[tuple[str, frozenset[type]]]:
    # The modules of the models import one another for type checkers only.
    hints = typing.get_type_hints(model, localns=vars(models))
    return [
        (field.name, frozenset(_members(hints[field.name])))
        for field in attrs.fields(model)
        if field.init
    ]


def _members(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return typing.get_args(hint)
    return (hint,)
