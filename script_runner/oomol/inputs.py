"""The inputs of a block, checked before anything is sent; OOMOL itself does not check them.

A missing value and null are alike: the default.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from script_runner import _validation
from script_runner._settings import DEFAULT_URL
from script_runner.errors import InvalidInput
from script_runner.logs import Stream

_MISSING_SECRET = re.compile(r"(?:\$\{\{OO_SECRET:)?([^,:/]+,[^,:/]+,[^,:/]+?)(?:\}\})?")
"""What the executor hands a block in the place of a secret that it does not find."""

Params = Mapping[str, object]
"""The inputs of a block by their handles; values of any type, since nobody checked them yet."""


def string(params: Params, name: str) -> str:
    """A string that must be there and not empty.

    Raises:
        InvalidInput: If it is missing, empty, not a string, or cannot be written as UTF-8.
    """
    return _validation.string(name, params.get(name))


def job_id(params: Params) -> str:
    """The id of a job.

    Raises:
        InvalidInput: See `string`; also if it is `.` or `..`, which no job is called.
    """
    return _validation.path_argument("job_id", params.get("job_id"))


def strings(params: Params, name: str) -> list[str]:
    """A list of strings, `[]` by default.

    Raises:
        InvalidInput: If it is not a list, or an item is no string or cannot be written as UTF-8.
    """
    value = params.get(name)
    return [] if value is None else _validation.strings(name, value)


def whole_number(params: Params, name: str, *, default: int, least: int) -> int:
    """A whole number; `100.0` is one.

    Raises:
        InvalidInput: If it is no number, has a fraction, or is less than `least`.
    """
    value = params.get(name)
    return default if value is None else _validation.whole_number(name, value, least=least)


def seconds(params: Params, name: str, *, default: float) -> float:
    """A number of seconds, 0 or more.

    Raises:
        InvalidInput: If it is no finite number, or less than 0.
    """
    value = params.get(name)
    if value is None:
        return default
    return _validation.seconds(name, value, most=threading.TIMEOUT_MAX)


def stream(params: Params, name: str) -> Stream:
    """The name of a stream, `stdout` by default.

    Raises:
        InvalidInput: If it is neither stdout nor stderr.
    """
    value = params.get(name)
    return "stdout" if value is None else _validation.stream(name, value)


def url(params: Params) -> str:
    """The URL of a script-runner, `http://localhost:3000` by default; `connect` checks it.

    Raises:
        InvalidInput: If it is not a string, or a secret that OOMOL does not have.
    """
    name = "script_runner_url"
    if params.get(name) is None:
        return DEFAULT_URL
    value = string(params, name)
    if secret := _MISSING_SECRET.fullmatch(value):
        raise InvalidInput(
            f"{name} is the OOMOL secret {secret[1]}, which is not there: add one of this type, "
            "name and key, with the whole URL as its value"
        )
    return value
