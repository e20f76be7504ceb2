"""Query parameters as the wire reads them."""

from __future__ import annotations

from starlette.requests import Request

from local_runner import ecmascript

MAX_INTEGER = 2**63 - 1
"""The largest offset that a response can hold (`format: int64`)."""


def text_of(request: Request, name: str) -> str:
    """The first value of a query parameter, `""` if there is none."""
    values = request.query_params.getlist(name)
    return values[0] if values else ""


def integer_of(request: Request, name: str, *, least: int, default: int) -> int:
    """A number, or the default if it is none, has a fraction, or is too small."""
    text = text_of(request, name)
    value = ecmascript.integer(text) if text else None
    return default if value is None or value < least else min(value, MAX_INTEGER)
