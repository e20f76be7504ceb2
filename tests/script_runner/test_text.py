"""The text of a log from its pages: exact, wherever the server cuts them."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated_client.models import Job
from script_runner import InvalidResponse, ScriptRunnerError, connect
from script_runner._settings import DEFAULT_PAGE_BYTES, MAX_PAGE_BYTES
from tests.script_runner.documented import documented, documented_job
from tests.script_runner.log_strategies import QUICK, growths, logs, sizes
from tests.script_runner.page_server import MemoryLog, log_of, log_server, page_for, read, reference
from tests.support.misbehaving_server import MisbehavingServer, Request, json_response

CHARACTERS = "a日é😀\n" * 40
"""Every length of a character, so that each cut falls into one of them."""


def text_of(log: MemoryLog, start: int, end: int, page_bytes: int) -> str:
    """The text of a part of a log, read in pages of a size."""
    return read(log_of(page_bytes).text(start, end), log)[0]


@QUICK
@given(logs, growths, sizes, st.booleans())
def test_the_pages_of_a_log_give_the_text_of_the_whole(
    raw: bytes, growth: list[bytes], page_bytes: int, cuts_characters: bool
) -> None:
    """Whatever the log grows by meanwhile."""
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


@pytest.mark.parametrize("cuts_characters", [True, False])
def test_a_server_with_smaller_pages_than_asked_for_gives_the_same_text(
    cuts_characters: bool,
) -> None:
    raw = ("x" + CHARACTERS * 1000).encode()
    log = MemoryLog(raw, cuts_characters=cuts_characters, largest_page=DEFAULT_PAGE_BYTES)
    assert text_of(log, 0, len(raw), MAX_PAGE_BYTES) == raw.decode()


@pytest.mark.parametrize("cut", range(4, 24))
def test_a_character_cut_by_a_page_survives(cut: int) -> None:
    raw = CHARACTERS.encode()
    assert text_of(MemoryLog(raw), 0, len(raw), cut) == CHARACTERS


def test_a_log_costs_no_more_requests_than_it_has_pages_and_a_few_for_a_cut_character() -> None:
    raw = b"0123456789" * 100
    log = MemoryLog(raw)
    assert text_of(log, 0, len(raw), 100) == raw.decode()
    assert (log.requests, log.bytes_sent) == (10, len(raw))
    raw = "日".encode() * 1000
    log = MemoryLog(raw)
    assert text_of(log, 0, len(raw), 1000) == raw.decode()
    assert log.requests <= 4 * 4
    assert log.bytes_sent <= len(raw) + 50
    assert (text_of(log, 3, 3, 10), log.requests) == ("", log.requests)


def test_a_log_that_shrinks_while_it_is_read_is_an_invalid_response() -> None:
    with pytest.raises(InvalidResponse, match=r"the log has shrunk from 9 to 5 bytes"):
        text_of(MemoryLog(b"12345"), 0, 9, 100)


PageFields = dict[str, object]
ASKED = "asked for 1048576 bytes from 0, "
BAD_PAGES: dict[str, tuple[PageFields, str]] = {
    "does not advance": ({"nextOffset": 0, "totalSize": 5}, f"{ASKED}got 0 to 0 of 5"),
    "does not advance and has text": (
        {"nextOffset": 0, "totalSize": 5, "data": "text"},
        f"{ASKED}got 0 to 0 of 5",
    ),
    "jumps back": ({"nextOffset": -1, "totalSize": 99, "data": "a"}, f"{ASKED}got 0 to -1"),
    "begins before what was asked for": (
        {"offset": -3, "nextOffset": 3, "totalSize": 99},
        f"{ASKED}got -3 to 3",
    ),
    "begins after what was asked for": (
        {"offset": 3, "nextOffset": 6, "totalSize": 99},
        f"{ASKED}got 3 to 6",
    ),
    "is larger than what was asked for": (
        {"nextOffset": MAX_PAGE_BYTES + 1, "totalSize": 9 << 30},
        f"{ASKED}got 0 to 1048577",
    ),
    "ends after the log": ({"nextOffset": 3, "totalSize": 2}, f"{ASKED}got 0 to 3 of 2"),
    "brings much less than it could": (
        {"nextOffset": 9, "totalSize": 9 << 30, "data": "x" * 9},
        f"{ASKED}got 0 to 9 of",
    ),
    "has no text for its bytes": (
        {"nextOffset": 9, "totalSize": 9, "data": ""},
        "0 characters came for the bytes 0 to 9",
    ),
    "has more text than bytes": (
        {"nextOffset": 2, "totalSize": 2, "data": "abc"},
        "3 characters came for the bytes 0 to 2",
    ),
    "counts characters as bytes": (
        {"nextOffset": 2, "totalSize": 2, "data": "日志"},
        "2 characters came for the bytes 0 to 2",
    ),
}


@pytest.mark.parametrize(("fields", "said"), BAD_PAGES.values(), ids=BAD_PAGES)
def test_what_cannot_be_a_page_of_the_log_is_an_invalid_response(
    fields: PageFields, said: str
) -> None:
    """And it is not asked for without end."""
    with log_server(lambda *_: MemoryLog(b"").page(0, 1).to_dict() | fields) as server:
        for turn in range(2):
            with pytest.raises(InvalidResponse) as caught:
                connect(server.url).lines("job_1", limit=10**9)
            assert f"the stdout log of job job_1 at {server.url}: {said}" in str(caught.value)
            assert str(caught.value).endswith(". Is this a script-runner?")
            assert len(server.requests) == turn + 1


@pytest.mark.parametrize(
    ("least", "of", "limit"),
    [
        # As much as was asked for, as there is, or as any server gives; less a cut character.
        (13, 99, 16),
        (13, 16, 99),
        (DEFAULT_PAGE_BYTES - 3, 10**12, MAX_PAGE_BYTES),
        (DEFAULT_PAGE_BYTES - 3, DEFAULT_PAGE_BYTES, DEFAULT_PAGE_BYTES),
        (1, 99, 4),
        (1, 1, 1),
    ],
)
def test_a_page_may_bring_less_by_a_cut_character_and_no_more(
    least: int, of: int, limit: int
) -> None:
    def page(size: int) -> int:
        reading = log_of().page(10, limit)
        next(reading)
        made = MemoryLog(b"").page(0, 1)
        made.offset, made.next_offset, made.total_size = 10, 10 + size, 10 + of
        made.data = "x" * size
        try:
            reading.send(made)
        except StopIteration as end:
            return int(end.value.end)
        raise AssertionError("there is one page only")

    assert page(least) == 10 + least
    with pytest.raises(InvalidResponse, match="got 10 to"):
        page(least - 1)


# -- the whole output of a job


def job_of(raw: bytes, preview: str, stream: str = "stdout", **fields: Any) -> Job:
    """An ended job that has written something to one stream."""
    sizes: dict[str, Any] = {
        "stdoutSize": 0, "stderrSize": 0, "stdoutPreview": "", "stderrPreview": "",
    }  # fmt: skip
    sizes |= {f"{stream}Size": len(raw), f"{stream}Preview": preview}
    return documented_job(jobId="job_1", **sizes, **fields)


@pytest.mark.parametrize(
    ("raw", "preview", "requests"),
    [
        (b"", "", 0),
        ("日 one\n".encode(), "日 one\n", 0),
        # The end of it, or something that only happens to be as long.
        (b"one\ntwo\n", "two\n", 1),
        ("日日".encode(), "\ufffd日", 1),
        (b"\xff\xff\xff", "\ufffd", 1),
    ],
)
def test_an_output_is_the_preview_if_that_is_complete(
    raw: bytes, preview: str, requests: int
) -> None:
    with log_server(reference(raw)) as server:
        for stream in ("stdout", "stderr"):
            before = len(server.requests)
            job = job_of(raw, preview, stream)
            assert connect(server.url).output(job, stream) == raw.decode("utf-8", "replace")
            assert len(server.requests) == before + requests


def test_an_output_that_was_cut_is_the_log_and_not_the_preview() -> None:
    with log_server(reference(b"first")) as server:
        job = job_of(b"first", "last.", stdoutTruncated=True)
        assert connect(server.url).output(job) == "first"


def test_an_output_of_many_pages_is_whole() -> None:
    raw = ("行 😀 é\n" * 400_000).encode() + random.Random(1).randbytes(5000)
    with log_server(reference(raw)) as server:
        job = job_of(raw, raw[-4096:].decode("utf-8", "replace"))
        assert connect(server.url).output(job) == raw.decode("utf-8", "replace")


def test_a_job_id_of_the_runner_that_cannot_be_asked_for_is_an_error_of_the_family() -> None:
    job = documented_job(jobId="..", stdoutSize=99)
    with log_server(reference(b"")) as server:
        with pytest.raises(ScriptRunnerError, match=r"job_id must not be '\.\.'"):
            connect(server.url).output(job)
        assert server.requests == []


def test_pages_that_contradict_one_another_have_an_end() -> None:
    """The text of a page is said to be nothing but half a character, which begins later."""
    page = documented("getJobLogs", "whole") | {"jobId": "job_1", "totalSize": 6}

    def bad(request: Request) -> list[bytes]:
        wanted = page_for(request, "日日".encode())
        if wanted["offset"] == 0:
            return [json_response(200, page | {"offset": 0, "nextOffset": 3, "data": "\ufffd"})]
        return [json_response(200, wanted)]

    with MisbehavingServer(bad) as server:
        with contextlib.suppress(InvalidResponse):
            connect(server.url).lines("job_1")
        assert len(server.requests) < 20
