"""The text of a log from its pages: exact, wherever the server cuts them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated_client.models import LogPage
from script_runner import InvalidResponse, connect, pages
from script_runner.pages import RunnerLog, read_text, utf8_of
from tests.script_runner.log_strategies import QUICK, growths, logs, sizes
from tests.script_runner.page_server import MemoryLog
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_answer

CHARACTERS = "a日é😀\n" * 40
"""Every length of a character, so that each cut falls into one of them."""


@pytest.fixture
def page_bytes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda size: monkeypatch.setattr(pages, "PAGE_BYTES", size)


def text_of(log: MemoryLog, start: int, end: int, page_bytes: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PAGE_BYTES", page_bytes)
        return "".join(read_text(log, start, end))


@QUICK
@given(logs, sizes, st.booleans())
def test_the_pages_of_a_log_give_the_text_of_the_whole(
    raw: bytes, page_bytes: int, cuts_characters: bool
) -> None:
    log = MemoryLog(raw, cuts_characters=cuts_characters)
    assert text_of(log, 0, len(raw), page_bytes) == raw.decode("utf-8", "replace")


@QUICK
@given(logs, st.integers(8, 40), st.booleans())
def test_a_server_with_smaller_pages_than_asked_for_gives_the_same_text(
    raw: bytes, largest_page: int, cuts_characters: bool
) -> None:
    log = MemoryLog(raw, cuts_characters=cuts_characters, largest_page=largest_page)
    assert text_of(log, 0, len(raw), 1024) == raw.decode("utf-8", "replace")


@QUICK
@given(logs, growths, sizes, st.booleans())
def test_what_a_log_grows_by_meanwhile_is_not_in_the_text(
    raw: bytes, growth: list[bytes], page_bytes: int, cuts_characters: bool
) -> None:
    log = MemoryLog(raw, cuts_characters=cuts_characters, growth=growth)
    assert text_of(log, 0, len(raw), page_bytes) == raw.decode("utf-8", "replace")


@QUICK
@given(logs, st.data(), sizes, st.booleans())
def test_a_part_that_begins_at_a_line_gives_the_text_of_that_part(
    raw: bytes, data: st.DataObject, page_bytes: int, cuts_characters: bool
) -> None:
    starts = [0, *(index + 1 for index, byte in enumerate(raw) if byte == ord("\n"))]
    start = data.draw(st.sampled_from(starts))
    end = data.draw(st.integers(start, len(raw)))
    log = MemoryLog(raw, cuts_characters=cuts_characters)
    assert text_of(log, start, end, page_bytes) == raw[start:end].decode("utf-8", "replace")


@pytest.mark.parametrize("cut", range(4, 24))
def test_a_character_cut_by_a_page_survives(cut: int, page_bytes: Callable[[int], None]) -> None:
    page_bytes(cut)
    raw = CHARACTERS.encode()
    assert "".join(read_text(MemoryLog(raw), 0, len(raw))) == CHARACTERS


def test_a_log_of_whole_characters_costs_no_more_requests_than_it_has_pages(
    page_bytes: Callable[[int], None],
) -> None:
    page_bytes(100)
    raw = b"0123456789" * 100
    log = MemoryLog(raw)
    assert "".join(read_text(log, 0, len(raw))) == raw.decode()
    assert (log.requests, log.bytes_sent) == (10, len(raw))


def test_a_cut_character_costs_a_few_small_requests(page_bytes: Callable[[int], None]) -> None:
    page_bytes(1000)
    raw = "日".encode() * 1000
    log = MemoryLog(raw)
    assert "".join(read_text(log, 0, len(raw))) == raw.decode()
    assert log.requests <= 4 * 4
    assert log.bytes_sent <= len(raw) + 50


def test_nothing_is_asked_for_where_nothing_is_wanted() -> None:
    log = MemoryLog(b"abc")
    assert list(read_text(log, 3, 3)) == []
    assert log.requests == 0


def test_a_log_that_shrinks_while_it_is_read_is_an_invalid_response() -> None:
    with pytest.raises(InvalidResponse, match=r"the log in memory has shrunk from 9 to 5 bytes"):
        list(read_text(MemoryLog(b"12345"), 0, 9))


PageFields = dict[str, object]
PAGE: PageFields = {"ok": True, "jobId": "job_1", "stream": "stdout", "truncated": False}

BAD_PAGES: dict[str, tuple[Callable[[int, int], PageFields], str]] = {
    "does not advance": (
        lambda offset, _: {"nextOffset": offset, "totalSize": offset + 5, "data": ""},
        "asked for 1048576 bytes from 0, got 0 to 0 of 5",
    ),
    "does not advance and has text": (
        lambda offset, _: {"nextOffset": offset, "totalSize": offset + 5, "data": "text"},
        "asked for 1048576 bytes from 0, got 0 to 0 of 5",
    ),
    "jumps back": (
        lambda offset, _: {"nextOffset": offset - 1, "totalSize": 99, "data": "a"},
        "asked for .* bytes from 0, got 0 to -1",
    ),
    "begins before what was asked for": (
        lambda offset, _: {"offset": offset - 3, "nextOffset": offset + 3, "totalSize": 99},
        "asked for .* bytes from 0, got -3 to 3",
    ),
    "begins after what was asked for": (
        lambda offset, _: {"offset": offset + 3, "nextOffset": offset + 6, "totalSize": 99},
        "asked for .* bytes from 0, got 3 to 6",
    ),
    "is larger than what was asked for": (
        lambda offset, limit: {"nextOffset": offset + limit + 1, "totalSize": 9 << 30},
        "got 0 to 1048577",
    ),
    "ends after the log": (
        lambda offset, _: {"nextOffset": offset + 3, "totalSize": 2},
        "asked for .* bytes from 0, got 0 to 3 of 2",
    ),
    "has no text for its bytes": (
        lambda offset, _: {"nextOffset": offset + 9, "totalSize": 9, "data": ""},
        "0 characters came for the bytes 0 to 9",
    ),
    "has more text than bytes": (
        lambda offset, _: {"nextOffset": offset + 2, "totalSize": 2, "data": "abc"},
        "3 characters came for the bytes 0 to 2",
    ),
    "counts characters as bytes": (
        lambda offset, _: {"nextOffset": offset + 2, "totalSize": 2, "data": "日志"},
        "2 characters came for the bytes 0 to 2",
    ),
}


LEAST = pages.LEAST_PAGE_BYTES


def page_of_bytes(size: int, *, of: int, limit: int) -> LogPage:
    """A page of so many bytes of a log of another size, as a server gives it to `RunnerLog`."""
    body = PAGE | {"offset": 10, "nextOffset": 10 + size, "totalSize": 10 + of, "data": "x" * size}
    with MisbehavingServer(lambda _: [json_answer(200, body)]) as server:
        return RunnerLog(connect(server.url), "job_1", "stdout").page(10, limit)


@pytest.mark.parametrize(
    ("least", "of", "limit"),
    [
        # As much as was asked for, as there is, or as any server gives; less a cut character.
        (13, 99, 16),
        (13, 16, 99),
        (LEAST - 3, 10**12, 1024 * 1024),
        (LEAST - 3, LEAST, LEAST),
        (1, 99, 4),
        (1, 1, 1),
        (1, 99, 1),
    ],
)
def test_a_page_that_brings_much_less_than_it_could_is_an_invalid_response(
    least: int, of: int, limit: int
) -> None:
    assert page_of_bytes(least, of=of, limit=limit).next_offset == 10 + least
    with pytest.raises(InvalidResponse) as caught:
        page_of_bytes(least - 1, of=of, limit=limit)
    assert re.fullmatch(
        r"the stdout log of job job_1 at http://127\.0\.0\.1:\d+: asked for "
        rf"{limit} bytes from 10, got 10 to {9 + least} of {10 + of}\. Is this a script-runner\?",
        str(caught.value),
    )


@pytest.mark.parametrize(("page", "message"), BAD_PAGES.values(), ids=BAD_PAGES)
def test_a_page_that_cannot_be_is_an_invalid_response(
    page: Callable[[int, int], PageFields], message: str
) -> None:
    def answer(request: Request) -> Iterator[Step]:
        query = parse_qs(urlsplit(request.target).query)
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        yield json_answer(200, PAGE | {"offset": offset, "data": "abc"} | page(offset, limit))

    with MisbehavingServer(answer) as server:
        log = RunnerLog(connect(server.url), "job_1", "stdout")
        with pytest.raises(InvalidResponse, match=message) as caught:
            utf8_of(log, log.page(0, 1024 * 1024))
    assert f"the stdout log of job job_1 at {server.url}" in str(caught.value)
    assert str(caught.value).endswith("Is this a script-runner?")


@pytest.mark.parametrize(
    "raw", [b"", b"a\xffb", b"\xe6\x97", b"\xf0\x9f\x98\xff\xff", "\ufffd日".encode()]
)
def test_the_text_of_invalid_bytes_is_taken(raw: bytes) -> None:
    body = {"offset": 0, "nextOffset": len(raw), "totalSize": len(raw)}
    data = {"data": raw.decode("utf-8", "replace")}
    with MisbehavingServer(lambda _: [json_answer(200, PAGE | body | data)]) as server:
        log = RunnerLog(connect(server.url), "job_1", "stdout")
        assert utf8_of(log, log.page(0, 100)) == raw.decode("utf-8", "replace").encode()
