"""Logs for property tests: text, invalid bytes and ends of lines, in any mixture."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

QUICK = settings(derandomize=True, deadline=None, database=None, max_examples=300)
"""The same examples in each run, so that a failure is never a surprise of the day."""

_TEXTS = [
    "日志",
    "é",
    "😀",
    "𠀀𠀁",
    "\ufffd",
    "\u2028",
    "\x0b",
    "\x85",
    "\x0c",
    "\x00",
    "\ufeff",
    "a",
]
_ENDS = ["\n", "\r\n", "\r", "\n\n", "\r\r\n"]
_INVALID = [
    # Parts of characters,
    *(b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"),
    # bytes that continue nothing,
    *(b"\x80", b"\xbf\xbf", b"\x80\x80\x80\x80"),
    # and what looks like a character: too long, half a surrogate pair, beyond the last one.
    *(b"\xff", b"\xfe", b"\xc0\x80", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80"),
    *(b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80"),
]

_piece = st.one_of(
    st.sampled_from([text.encode() for text in _TEXTS]),
    st.sampled_from([end.encode() for end in _ENDS]),
    st.sampled_from(_INVALID),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(str.encode),
    st.binary(max_size=5),
    st.integers(1, 40).map(lambda length: b"x" * length),
    st.integers(1, 12).map(lambda length: "😀".encode() * length),
)

logs = st.lists(_piece, max_size=30).map(b"".join)
"""Logs of up to some hundred bytes."""

growths = st.lists(st.lists(_piece, max_size=4).map(b"".join), max_size=8)
"""What a script writes between requests."""

sizes = st.integers(4, 64)
"""Page sizes and distances: tiny ones, so that short logs have many pages."""
