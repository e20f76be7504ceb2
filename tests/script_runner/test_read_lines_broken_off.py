"""`read_lines` that is broken off half way, or asked for what cannot be."""

from __future__ import annotations

import contextlib
import re
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from script_runner import InvalidInput, InvalidResponse, LogLines, connect, lines, read_lines
from tests.script_runner.page_server import MemoryLog, log_server, reference

RAW = b"".join(b"%d\n" % number for number in range(5000))
READ = LogLines(["4000", "4001"], 5000, 5000, False)


class Interrupt(BaseException):
    """What can come at any moment, such as KeyboardInterrupt."""


class Numbers(array):  # type: ignore[type-arg]
    """Numbers of which one is noted, and then comes something else.

    Attributes:
        left: What comes, once.
        is_reading: Set before it comes.
        go_on: What is waited for before it comes.
    """

    left: ClassVar[list[type[BaseException]]] = []
    is_reading = threading.Event()
    go_on = threading.Event()

    def append(self, number: int) -> None:
        super().append(number)
        if len(self) > 2 and self.left:
            self.is_reading.set()
            self.go_on.wait(20)
            raise self.left.pop()


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_indexes", lines._Indexes())
    monkeypatch.setattr(lines, "CHECKPOINT_BYTES", 64)
    monkeypatch.setattr(lines, "array", Numbers)
    Numbers.is_reading.clear()
    Numbers.go_on.clear()


@pytest.mark.parametrize("error", [Interrupt, MemoryError])
def test_a_log_whose_reading_was_broken_off_half_way_is_read_anew(
    error: type[BaseException],
) -> None:
    Numbers.left = [error]
    Numbers.go_on.set()
    with log_server(reference(RAW)) as server:
        runner = connect(server.url)
        with pytest.raises(error):
            read_lines(runner, "job_1")
        assert read_lines(runner, "job_1", offset=4000, limit=2) == READ


def test_who_waited_for_a_log_whose_reading_was_broken_off_reads_it_anew() -> None:
    """It has the same index in its hands as the one who was interrupted."""
    Numbers.left = [Interrupt]
    with log_server(reference(RAW)) as server, ThreadPoolExecutor(2) as threads:
        runner = connect(server.url)
        first = threads.submit(read_lines, runner, "job_1")
        assert Numbers.is_reading.wait(20)
        second = threads.submit(read_lines, runner, "job_1", offset=4000, limit=2)
        Numbers.go_on.set()
        assert isinstance(first.exception(20), Interrupt)
        assert second.result(20) == READ


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stream": "foo"}, "stream must be stdout or stderr, got 'foo'"),
        ({"stream": ["stdout"]}, "stream must be stdout or stderr, got ['stdout']"),
        ({"offset": -1}, "offset must be a whole number of 0 or more, got -1"),
        ({"offset": 0.5}, "offset must be a whole number of 0 or more, got 0.5"),
        ({"limit": 0}, "limit must be a whole number of 1 or more, got 0"),
        ({"limit": "9"}, "limit must be a whole number of 1 or more, got '9'"),
    ],
)
def test_lines_that_cannot_be_are_refused_and_nothing_is_sent(
    given: dict[str, Any], said: str
) -> None:
    with log_server(reference(b"a\n")) as server:
        with pytest.raises(InvalidInput, match=f"^{re.escape(said)}$"):
            read_lines(connect(server.url), "job_1", **given)
        assert server.connections == 0


def test_pages_that_contradict_one_another_have_an_end() -> None:
    """The text of a page is said to be nothing but half a character, which begins later."""

    def page(_: str, offset: int, limit: int) -> dict[str, object]:
        whole = {"offset": offset, "totalSize": 6, "nextOffset": min(offset + limit, 6)}
        if offset == 0:
            return MemoryLog(b"").page(0, 1).to_dict() | whole | {"nextOffset": 3, "data": "\ufffd"}
        return MemoryLog(b"").page(0, 1).to_dict() | whole | {"data": "日日"[: 2 - offset // 4]}

    with log_server(page) as server:
        with contextlib.suppress(InvalidResponse):
            read_lines(connect(server.url), "job_1")
        assert len(server.requests) < 20
