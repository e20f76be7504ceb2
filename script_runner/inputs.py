"""Checks of inputs before anything is sent. A missing value and null are alike: the default."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Mapping
from typing import Literal, TypeGuard

from script_runner.errors import InvalidInput

DEFAULT_URL = "http://localhost:3000"
"""Where a script-runner listens on this machine by default."""

Stream = Literal["stdout", "stderr"]
"""The two streams of a job's output."""

Params = Mapping[str, object]
"""The inputs of a block by their handles; values of any type, since nobody checked them yet."""


def text(params: Params, name: str) -> str:
    """A text that must be there and not empty.

    Raises:
        InvalidInput: If it is missing, empty, not a text, or cannot be written as UTF-8.
    """
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} must be a text that is not empty, got {_shown(value)}")
    return _encodable(name, value)


def texts(params: Params, name: str) -> list[str]:
    """A list of texts, `[]` by default.

    Raises:
        InvalidInput: If it is not a list, or an item is not a text or cannot be written as UTF-8.
    """
    value = params.get(name)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{name} must be an array of texts, got {_shown(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidInput(f"{name}[{index}] must be a text, got {_shown(item)}")
        _encodable(f"{name}[{index}]", item)
    return list(value)


def whole_number(params: Params, name: str, *, default: int, least: int) -> int:
    """A whole number; `100.0` is one.

    Raises:
        InvalidInput: If it is no number, has a fraction, or is less than `least`.
    """
    value = params.get(name)
    if value is None:
        return default
    if _is_number(value) and value == int(value) >= least:
        return int(value)
    raise InvalidInput(f"{name} must be a whole number of {least} or more, got {_shown(value)}")


def seconds(params: Params, name: str, *, default: float) -> float:
    """A number of seconds, 0 or more.

    Raises:
        InvalidInput: If it is no finite number, or less than 0.
    """
    value = params.get(name)
    if value is None:
        return default
    if _is_number(value) and 0 <= value <= threading.TIMEOUT_MAX:
        return float(value)
    raise InvalidInput(f"{name} must be a number of seconds, 0 or more, got {_shown(value)}")


def stream(params: Params, name: str) -> Stream:
    """The name of a stream, `stdout` by default.

    Raises:
        InvalidInput: If it is neither stdout nor stderr.
    """
    value = params.get(name)
    if value is None:
        return "stdout"
    if value == "stdout" or value == "stderr":
        return value
    raise InvalidInput(f"{name} must be stdout or stderr, got {_shown(value)}")


def url(params: Params, name: str = "script_runner_url") -> str:
    """The URL of a script-runner, `http://localhost:3000` by default; `connect` checks it.

    Raises:
        InvalidInput: If it is not a text.
    """
    return DEFAULT_URL if params.get(name) is None else text(params, name)


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


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
