"""Numbers as ECMAScript reads them out of text, which the wire and the configuration do."""

from __future__ import annotations

import math
import re

MAX_PREFIXED_DIGITS = 256
"""From so many digits on a hexadecimal number is infinite in ECMAScript, as it is to us."""

_SPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What `Number` ignores around a number; `str.strip` takes other characters for space."""

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_PREFIXED = re.compile(r"0x[0-9a-f]+|0o[0-7]+|0b[01]+", re.ASCII | re.IGNORECASE)


def number(text: str) -> float:
    """What `Number(text)` is; NaN if the text is no number."""
    text = text.strip(_SPACE)
    if not text:
        return 0.0
    if _PREFIXED.fullmatch(text):
        return float(int(text, 0)) if len(text) < MAX_PREFIXED_DIGITS else math.inf
    return float(text) if _DECIMAL.fullmatch(text) else math.nan


def integer(text: str) -> int | None:
    """A text that `Number.isInteger(Number(text))` holds for, as an integer; None for any other."""
    value = number(text)
    return int(value) if value.is_integer() else None
