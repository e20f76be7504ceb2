"""Query parameters as the wire reads them: numbers as ECMAScript does."""

from __future__ import annotations

import math
import re

from starlette.requests import Request

MAX_INTEGER = 2**63 - 1
"""The largest offset that a response can hold (`format: int64`)."""

MAX_PREFIXED_DIGITS = 256
"""From so many digits on a hexadecimal number is infinite in ECMAScript, as it is to us."""

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_PREFIXED = re.compile(r"0x[0-9a-f]+|0o[0-7]+|0b[01]+", re.ASCII | re.IGNORECASE)


def text_of(request: Request, name: str) -> str:
    """The first value of a query parameter, `""` where there is none."""
    values = request.query_params.getlist(name)
    return values[0] if values else ""


def integer_of(request: Request, name: str, *, least: int, default: int) -> int:
    """A number as ECMAScript reads it, or the default where it is none or too small."""
    text = text_of(request, name).strip()
    number = math.nan
    if _PREFIXED.fullmatch(text):
        number = float(int(text, 0)) if len(text) < MAX_PREFIXED_DIGITS else math.inf
    elif _DECIMAL.fullmatch(text):
        number = float(text)
    if not math.isfinite(number) or number != int(number) or number < least:
        return default
    return min(int(number), MAX_INTEGER)
