"""Following a log while it grows: each byte once, in bounded memory, and the progress in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from script_runner import InvalidResponse, Settings
from script_runner.logs import PageRequest
from script_runner.logs._follow import (
    TAIL_CHARACTERS,
    Follower,
    Line,
    Progress,
    Text,
    last_percent,
)
from tests.script_runner.log_strategies import QUICK, logs, sizes
from tests.script_runner.page_server import MemoryLog, lines_in, log_of

Heard = list[Text | Line | Progress]


class Followed:
    """A log in memory that grows and is followed, in small pages."""

    def __init__(
        self,
        *,
        page_bytes: int = 2**20,
        max_line: int = Settings().max_open_line,
        max_lines: int | None = None,
        cuts_characters: bool = True,
    ) -> None:
        self.log = MemoryLog(b"", cuts_characters=cuts_characters)
        self.follower = Follower(log_of(page_bytes), max_line, max_lines)
        self.heard: Heard = []

    def look(self, *, has_ended: bool = False) -> list[str]:
        """Follow to where the log ends now; returns the lines."""
        before = len(self.heard)
        following = self.follower.follow(len(self.log.raw), has_ended=has_ended)
        step = next(following, None)
        while step is not None:
            try:
                if isinstance(step, PageRequest):
                    step = following.send(self.log.page(step.offset, step.limit))
                else:
                    self.heard.append(step)
                    step = next(following)
            except StopIteration:
                break
        return [each.text for each in self.heard[before:] if isinstance(each, Line)]

    def grow(self, raw: bytes, *, has_ended: bool = False) -> list[str]:
        """Write something, and follow."""
        self.log.raw += raw
        return self.look(has_ended=has_ended)

    @property
    def progress(self) -> list[float]:
        return [each.percent for each in self.heard if isinstance(each, Progress)]


@QUICK
@given(st.lists(logs, min_size=1, max_size=6), sizes, st.booleans())
def test_the_lines_of_a_log_that_grows_are_those_of_the_whole(
    parts: list[bytes], page_bytes: int, cuts_characters: bool
) -> None:
    """Wherever pages and looks cut it; and no byte is read twice, but for a cut character."""
    followed = Followed(page_bytes=page_bytes, cuts_characters=cuts_characters)
    lines = [line for part in parts for line in followed.grow(part)]
    lines += followed.look(has_ended=True)
    raw = b"".join(parts)
    assert lines == lines_in(raw)
    pages = len(raw) // max(1, page_bytes - 3) + len(parts) + 1
    assert followed.log.bytes_sent <= len(raw) + 9 * pages


def test_half_a_line_is_passed_on_when_it_is_whole_or_the_job_has_ended() -> None:
    followed = Followed()
    assert followed.grow(b"one\nha") == ["one"]
    assert followed.grow(b"lf") == []
    assert followed.grow("日".encode()[:-1]) == []
    assert followed.grow("日\r\n\nen".encode()[2:]) == ["half日", ""]
    assert followed.grow(b"d", has_ended=True) == ["end"]
    assert followed.look(has_ended=True) == []


def test_a_progress_bar_without_a_newline_is_read_once() -> None:
    followed = Followed()
    for number in range(1000):
        assert followed.grow(b"\r[%3d%%] ........................" % (number % 101)) == []
    assert followed.log.bytes_sent == len(followed.log.raw)
    assert followed.progress == [number % 101 for number in range(1000)]
    assert len(followed.follower._lines.open) <= Settings().max_open_line
    assert followed.grow(b"\ndone\n")[1:] == ["done"]


@pytest.mark.parametrize("piece", [b"x" * 999, b"x" * 999 + b"\r", "日".encode() * 333])
def test_an_open_line_of_any_length_is_held_in_bounded_memory(piece: bytes) -> None:
    followed = Followed(max_line=1000)
    for _ in range(2000):
        assert followed.grow(piece) == []
        assert len(followed.follower._lines.open) <= 1001
    [line] = followed.grow(b"\n")
    written = len((piece * 2000).decode())
    if b"\r" in piece:
        # Written over again and again: its last state.
        assert line == "x" * 999
    else:
        assert line == f"{(piece * 4).decode()[:1000]}… and {written - 1000} more characters"
    assert followed.grow(b"next\n") == ["next"]


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([b"a" * 20, b"\rstate\n"], ["state"]),
        ([b"a" * 20, b"b" * 20, b"\rst", b"ate\n"], ["state"]),
        ([b"a" * 20, b"\r", b"state\n"], ["state"]),
        ([b"a" * 20, b"\r", b"\n"], ["a" * 10 + "… and 10 more characters"]),
        ([b"short\rstate\n"], ["short\rstate"[-5:]]),
        ([b"s\rt\n"], ["s\rt"]),
    ],
)
def test_of_a_long_line_that_is_written_over_the_last_state_is_passed_on(
    parts: list[bytes], wanted: list[str]
) -> None:
    followed = Followed(max_line=10)
    assert [line for part in parts for line in followed.grow(part)] == wanted


NOTE = "… 3 lines are shown here; the log of the job has them all."


@pytest.mark.parametrize(
    "parts",
    [
        [b"1\n2\n3\n4\n5\n"],
        [b"1\n", b"2\n3\n4\n", b"5\n"],
        # Exactly as many at first.
        [b"1\n2\n3\n", b"4\n", b"5\n6\n"],
        [b"1\n2\n3\n", b"half"],
    ],
)
def test_of_many_lines_the_first_are_passed_on_and_that_there_are_more_is_said_once(
    parts: list[bytes],
) -> None:
    followed = Followed(max_lines=3)
    lines = [line for part in parts for line in followed.grow(part)]
    lines += followed.look(has_ended=True)
    assert lines == ["1", "2", "3", NOTE]


def test_as_many_lines_as_are_passed_on_are_all() -> None:
    followed = Followed(max_lines=3)
    assert followed.grow(b"1\n2\n3\n", has_ended=True) == ["1", "2", "3"]


def test_after_the_lines_that_are_passed_on_only_the_end_is_read_for_the_progress() -> None:
    followed = Followed(max_lines=3, page_bytes=65536)
    followed.log.raw = b"a line\n" * 1_000_000 + b"40%\n"
    assert followed.look() == ["a line"] * 3 + [NOTE]
    assert followed.log.bytes_sent <= 65536 + TAIL_CHARACTERS
    assert followed.progress == [40]
    followed.grow(b"b" * 100_000 + b" 50%\n")
    assert followed.progress == [40, 50]


@pytest.mark.parametrize("size", [0, 4])
def test_a_log_that_was_shortened_is_gone_on_with_and_said_once(size: int) -> None:
    followed = Followed()
    assert followed.grow(b"one\ntwo\nthr") == ["one", "two"]
    followed.log.raw = followed.log.raw[:size]
    lost = "… the log was shortened here; lines may be missing."
    assert followed.look() == ["thr", lost]
    assert followed.grow(b"four\n") == ["four"]
    assert followed.look(has_ended=True) == []


def test_what_cannot_be_a_page_is_an_error_and_the_next_look_goes_on_there() -> None:
    followed = Followed()
    followed.grow(b"one\n")
    page = followed.log.page

    def bad(offset: int, limit: int):  # type: ignore[no-untyped-def]
        made = page(offset, limit)
        made.next_offset += 1
        return made

    followed.log.page = bad  # type: ignore[method-assign]
    with pytest.raises(InvalidResponse):
        followed.grow(b"two\n")
    followed.log.page = page  # type: ignore[method-assign]
    assert followed.grow(b"three\n") == ["two", "three"]


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("", None),
        ("no progress", None),
        ("42%", 42),
        ("[42%] of it", 42),
        ("progress:42 %", 42),
        ("42.5%|███", 42.5),
        ("42,5 %", 42.5),
        ("0%\r50%\r100%", 100),
        ("100%\n3%", 3),
        ("10% 986%", 10),
        ("986%", None),
        ("100.1%", None),
        ("-5%", None),
        ("+5%", None),
        ("a5%", None),
        ("1.2.3%", None),
        ("5%d", None),
        ("a%20b 5%2F", None),
        ("1000%", None),
        ("5 of 10", None),
    ],
)
def test_the_progress_is_the_last_percentage(text: str, percent: float | None) -> None:
    assert last_percent(text) == percent


def test_a_percentage_that_a_look_cuts_is_read_whole_and_one_of_long_ago_is_none() -> None:
    followed = Followed()
    followed.grow(b"\r4")
    followed.grow(b"2")
    assert followed.progress == []
    followed.grow(b"% done")
    assert followed.progress == [42]
    assert last_percent("7%" + "x" * TAIL_CHARACTERS) is None
    # The tail begins inside of 250%.
    assert last_percent("250%" + "x" * (TAIL_CHARACTERS - 3)) is None
