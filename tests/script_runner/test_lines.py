"""The lines of a log: those of the whole log decoded at once, whatever was asked for before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from script_runner import LogLines, lines, pages
from script_runner.lines import LineIndex, lines_of, split_lines
from tests.script_runner.log_strategies import QUICK, growths, logs, sizes
from tests.script_runner.page_server import MemoryLog, lines_in

RANGES = st.tuples(st.integers(0, 40), st.integers(1, 40))
"""An offset and a limit."""


@contextlib.contextmanager
def tiny(page_bytes: int, checkpoint_bytes: int, max_checkpoints: int = 65_536) -> Iterator[None]:
    """Tiny pages and distances, so that a short log has many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PAGE_BYTES", page_bytes)
        patch.setattr(lines, "PAGE_BYTES", page_bytes)
        patch.setattr(lines, "CHECKPOINT_BYTES", checkpoint_bytes)
        patch.setattr(lines, "MAX_CHECKPOINTS", max_checkpoints)
        yield


def wanted_lines(raw: bytes, offset: int, limit: int) -> LogLines:
    """What should be read of a log, by the rule of the product."""
    all_lines = lines_in(raw)
    return LogLines(all_lines[offset : offset + limit], len(all_lines), raw.count(b"\n"), False)


def remembered(index: LineIndex) -> dict[int, int]:
    """The number of each remembered line start, by its byte."""
    return dict(zip(index._starts, index._numbers, strict=True))


def line_starts(raw: bytes) -> dict[int, int]:
    """The number of each line start of a log, by its byte."""
    starts = [0, *(place + 1 for place, byte in enumerate(raw) if byte == ord("\n"))]
    return {start: number for number, start in enumerate(starts)}


@QUICK
@given(logs, RANGES, sizes, sizes, st.booleans())
def test_lines_equal_those_of_the_whole_log(
    raw: bytes, wanted: tuple[int, int], page_bytes: int, checkpoint_bytes: int, cuts: bool
) -> None:
    with tiny(page_bytes, checkpoint_bytes):
        read = lines_of(MemoryLog(raw, cuts_characters=cuts), LineIndex(), *wanted)
    assert read == wanted_lines(raw, *wanted)


@QUICK
@given(logs, st.lists(RANGES, min_size=2, max_size=8), sizes, sizes, st.booleans())
def test_lines_are_the_same_whatever_was_read_before(
    raw: bytes, calls: list[tuple[int, int]], page_bytes: int, checkpoint_bytes: int, cuts: bool
) -> None:
    with tiny(page_bytes, checkpoint_bytes):
        log, index = MemoryLog(raw, cuts_characters=cuts), LineIndex()
        for wanted in calls:
            assert lines_of(log, index, *wanted) == wanted_lines(raw, *wanted)


@QUICK
@given(logs, growths, st.lists(RANGES, min_size=2, max_size=8), sizes, sizes, st.booleans())
def test_lines_of_a_growing_log_are_all_of_one_moment(
    raw: bytes,
    growth: list[bytes],
    calls: list[tuple[int, int]],
    page_bytes: int,
    checkpoint_bytes: int,
    cuts: bool,
) -> None:
    with tiny(page_bytes, checkpoint_bytes):
        log, index = MemoryLog(raw, cuts_characters=cuts, growth=growth), LineIndex()
        for wanted in calls:
            read = lines_of(log, index, *wanted)
            assert read == wanted_lines(log.raw[: index.size], *wanted)
            assert index.size >= len(raw)


@QUICK
@given(logs, growths, sizes, sizes, st.integers(1, 8), st.booleans())
def test_every_remembered_line_start_is_one(
    raw: bytes,
    growth: list[bytes],
    page_bytes: int,
    checkpoint_bytes: int,
    max_checkpoints: int,
    cuts: bool,
) -> None:
    with tiny(page_bytes, checkpoint_bytes, max_checkpoints):
        log, index = MemoryLog(raw, cuts_characters=cuts, growth=growth), LineIndex()
        while index.size < len(log.raw) or not log.requests:
            index.extend(log)
    assert remembered(index).items() <= line_starts(log.raw).items()
    assert remembered(index)[0] == 0
    assert len(index._starts) == len(index._numbers) <= max_checkpoints


@QUICK
@given(logs, st.lists(RANGES, min_size=2, max_size=4), st.integers(1, 4), st.booleans())
def test_lines_are_the_same_where_line_starts_were_thinned_out(
    raw: bytes, calls: list[tuple[int, int]], max_checkpoints: int, cuts: bool
) -> None:
    with tiny(page_bytes=16, checkpoint_bytes=4, max_checkpoints=max_checkpoints):
        log, index = MemoryLog(raw, cuts_characters=cuts), LineIndex()
        for wanted in calls:
            assert lines_of(log, index, *wanted) == wanted_lines(raw, *wanted)


@pytest.mark.parametrize("cuts", [True, False], ids=["cuts characters", "whole characters"])
def test_a_later_page_of_a_known_log_is_one_request_of_a_few_bytes(
    cuts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAGE_BYTES", 100_000)
    raw = "".join(f"第 {number} 行 😀\n" for number in range(150_000)).encode()
    log, index = MemoryLog(raw, cuts_characters=cuts), LineIndex()
    lines_of(log, index, 0, 100)
    for offset in range(0, 150_000, 1_500):
        log.requests = log.bytes_sent = 0
        read = lines_of(log, index, offset, 100)
        assert read.lines[0] == f"第 {offset} 行 😀"
        assert log.requests == 1
        assert log.bytes_sent < 100 * 24 + 2 * lines.CHECKPOINT_BYTES


def test_a_log_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PAGE_BYTES", 1000)
    log, index = MemoryLog(b"123456789\n" * 1000), LineIndex()
    assert lines_of(log, index, 999, 100).lines == ["123456789"]
    counted = log.requests
    assert lines_of(log, index, 0, 5).total_lines == 1000
    assert (counted, log.requests - counted) == (11, 1)


def test_the_memory_of_a_log_of_many_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(lines, "MAX_CHECKPOINTS", 1000)
    log, index = MemoryLog(b"\n" * 300_000), LineIndex()
    assert lines_of(log, index, 299_990, 100).lines == [""] * 10
    assert 250 <= len(index._starts) <= 1000


class EndlessLog(MemoryLog):
    """The log of a script that writes faster than it is read."""

    def page(self, offset, limit):  # type: ignore[no-untyped-def]
        self.raw += b"a line\n" * 1000
        return super().page(offset, limit)


def test_a_log_that_grows_faster_than_it_is_read_has_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "PAGE_BYTES", 1000)
    log = EndlessLog(b"")
    read = lines_of(log, LineIndex(), 0, 3)
    assert read.lines == ["a line"] * 3
    assert log.requests < 20


def test_lines_read_while_a_log_grows_are_counted_as_far_as_they_were_read() -> None:
    # The second request of the call finds more lines, and the end of the half line.
    log = MemoryLog(b"one\nhal", growth=[b"f\nthree\n"])
    read = lines_of(log, LineIndex(), 0, 100)
    assert read == LogLines(["one", "hal"], total_lines=2, complete_lines=1, truncated=False)


def test_a_page_of_known_lines_counts_what_has_come_since() -> None:
    log, index = MemoryLog(b"one\ntwo\n"), LineIndex()
    lines_of(log, index, 0, 100)
    log.raw += b"three\nfo"
    assert lines_of(log, index, 0, 1) == LogLines(["one"], 4, 3, False)


class FullLog(MemoryLog):
    """A log that is full."""

    def page(self, offset, limit):  # type: ignore[no-untyped-def]
        page = super().page(offset, limit)
        page.truncated = True
        return page


def test_a_page_of_known_lines_says_that_the_log_is_full_by_now() -> None:
    index = LineIndex()
    assert not lines_of(MemoryLog(b"one\ntwo\n"), index, 0, 100).truncated
    assert lines_of(FullLog(b"one\ntwo\n"), index, 0, 1).truncated


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("\n", [""]),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\n", ["a", ""]),
        ("a\r\nb\r\r\nc\r", ["a", "b\r", "c\r"]),
        ("a\u2028b\x0bc\x85d\x0ce\x1cf\x00g\n", ["a\u2028b\x0bc\x85d\x0ce\x1cf\x00g"]),
    ],
)
def test_only_a_newline_ends_a_line(text: str, wanted: list[str]) -> None:
    assert split_lines(text) == wanted
