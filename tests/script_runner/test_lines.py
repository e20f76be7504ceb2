"""The lines of a log: those of the whole log decoded at once, whatever was asked for before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from script_runner import (
    AsyncScriptRunner,
    InvalidResponse,
    LogLines,
    RequestRejected,
    RunnerUnreachable,
    ScriptRunner,
    Settings,
    connect,
)
from script_runner.logs import LineIndex, read_lines
from script_runner.logs._lines import split_lines
from scripts.runner_process import RunnerProcess
from tests.script_runner.log_strategies import QUICK, growths, logs, sizes
from tests.script_runner.page_server import (
    MemoryLog,
    Pages,
    lines_in,
    log_of,
    log_server,
    read,
    reference,
)
from tests.script_runner.threads import refuse_threads
from tests.script_runner.verbs import Connected
from tests.support.misbehaving_server import Action

RANGES = st.tuples(st.integers(0, 40), st.integers(1, 40))
"""An offset and a limit."""


def tiny(page_bytes: int, spacing: int, starts: int = 65_536) -> Settings:
    """Tiny pages and distances, so that a short log has many of them."""
    return Settings(page_bytes=page_bytes, line_start_bytes=spacing, max_line_starts=starts)


class KnownLog:
    """A log with its index, read as a runner reads it."""

    def __init__(self, log: MemoryLog, settings: Settings = Settings()) -> None:  # noqa: B008
        self.log = log
        self.index = LineIndex(settings)
        self._page_bytes = settings.page_bytes

    def lines(self, offset: int, limit: int) -> LogLines:
        reading = read_lines(log_of(self._page_bytes), self.index, offset, limit)
        return read(reading, self.log)


def wanted_lines(raw: bytes, offset: int, limit: int) -> LogLines:
    """What should be read of a log, by the rule of the product."""
    all_lines = lines_in(raw)
    return LogLines(all_lines[offset : offset + limit], len(all_lines), False)


def line_starts(raw: bytes) -> dict[int, int]:
    """The number of each line start of a log, by its byte."""
    starts = [0, *(place + 1 for place, byte in enumerate(raw) if byte == ord("\n"))]
    return {start: number for number, start in enumerate(starts)}


@QUICK
@given(
    logs, growths, st.lists(RANGES, min_size=1, max_size=8), sizes, sizes,
    st.sampled_from([65_536, 1, 2, 5]), st.booleans(),
)  # fmt: skip
def test_lines_equal_those_of_the_whole_log_as_it_was_at_one_moment(
    raw: bytes,
    growth: list[bytes],
    calls: list[tuple[int, int]],
    page_bytes: int,
    spacing: int,
    max_starts: int,
    cuts: bool,
) -> None:
    """Whatever was read before, also while the log grows, and where line starts were forgotten."""
    known = KnownLog(
        MemoryLog(raw, cuts_characters=cuts, growth=growth), tiny(page_bytes, spacing, max_starts)
    )
    for wanted in calls:
        lines = known.lines(*wanted)
        size = known.index.size
        assert size >= len(raw)
        assert lines == wanted_lines(known.log.raw[:size], *wanted)
        starts = dict(zip(known.index._starts, known.index._numbers, strict=True))
        assert starts.items() <= line_starts(known.log.raw).items()
        assert 0 in starts
        assert len(starts) <= max(max_starts, 1)


@pytest.mark.parametrize("cuts", [True, False], ids=["cuts characters", "whole characters"])
def test_a_later_page_of_a_known_log_is_one_request_of_a_few_bytes(cuts: bool) -> None:
    raw = "".join(f"第 {number} 行 😀\n" for number in range(50_000)).encode()
    settings = Settings(page_bytes=100_000)
    known = KnownLog(MemoryLog(raw, cuts_characters=cuts), settings)
    known.lines(0, 100)
    counted = known.log.bytes_sent
    assert counted < len(raw) * 1.02
    for offset in range(0, 50_000, 1_500):
        known.log.requests = known.log.bytes_sent = 0
        assert known.lines(offset, 100).lines[0] == f"第 {offset} 行 😀"
        assert known.log.requests == 1
        assert known.log.bytes_sent < 100 * 24 + 2 * settings.line_start_bytes


@QUICK
@given(logs, st.integers(1, 9), st.integers(4, 200), st.integers(1, 40), st.booleans())
def test_a_walk_through_a_log_gives_each_of_its_lines_once(
    raw: bytes, step: int, page_bytes: int, spacing: int, cuts: bool
) -> None:
    known = KnownLog(MemoryLog(raw, cuts_characters=cuts), tiny(page_bytes, spacing))
    all_lines = lines_in(raw)
    walked: list[str] = []
    while len(walked) < len(all_lines):
        lines = known.lines(len(walked), step)
        assert (len(lines.lines) > 0, lines.total_lines) == (True, len(all_lines))
        walked += lines.lines
    assert walked == all_lines


def walked(log: MemoryLog, settings: Settings) -> int:
    """Walk through a log of 10,000 lines by 100; gives how many pages that took."""
    known = KnownLog(log, settings)
    for offset in range(0, 10_000, 100):
        assert known.lines(offset, 100).lines[-1] == f"第 {offset + 99} 行"
    return log.requests


def test_a_walk_through_a_log_takes_whole_pages() -> None:
    raw = "".join(f"第 {number} 行\n" for number in range(10_000)).encode()
    settings = Settings(page_bytes=20_000, line_start_bytes=100)
    pages = len(raw) / 20_000
    for cuts in (True, False):
        # Each page is read twice, and what is cut costs a few bytes more.
        assert walked(MemoryLog(raw, cuts_characters=cuts), settings) < 4 * pages
    # Who takes his time is told each time how long the log is.
    assert walked(MemoryLog(raw), replace(settings, walk_seconds=0)) >= 100


def test_a_walk_is_told_at_its_end_what_has_come_since() -> None:
    known = KnownLog(MemoryLog(b"a line\n" * 1000), Settings(line_start_bytes=10))
    assert known.lines(0, 400).total_lines == 1000
    assert known.lines(400, 400).total_lines == 1000
    known.log.raw += b"more\n"
    assert known.lines(800, 400) == LogLines(["a line"] * 200 + ["more"], 1001, False)


def test_the_memory_of_a_log_of_many_lines_is_bounded() -> None:
    known = KnownLog(MemoryLog(b"\n" * 300_000), tiny(2**20, 1, starts=1000))
    assert known.lines(299_990, 100).lines == [""] * 10
    assert 250 <= len(known.index._starts) <= 1000


class EndlessLog(MemoryLog):
    """The log of a script that writes faster than it is read."""

    def page(self, offset, limit):  # type: ignore[no-untyped-def]
        self.raw += b"a line\n" * 1000
        return super().page(offset, limit)


def test_a_log_that_grows_faster_than_it_is_read_has_an_end() -> None:
    known = KnownLog(EndlessLog(b""), Settings(page_bytes=1000))
    assert known.lines(0, 3).lines == ["a line"] * 3
    assert known.log.requests < 20


def test_a_page_of_known_lines_counts_what_has_come_since() -> None:
    known = KnownLog(MemoryLog(b"one\ntwo\n"))
    assert known.lines(0, 100) == LogLines(["one", "two"], 2, False)
    known.log.raw += b"three\nfo"
    assert known.lines(0, 1) == LogLines(["one"], 4, False)


class FullLog(MemoryLog):
    """A log that is full."""

    def page(self, offset, limit):  # type: ignore[no-untyped-def]
        page = super().page(offset, limit)
        page.truncated = True
        return page


def test_a_page_of_known_lines_says_that_the_log_is_full_by_now() -> None:
    known = KnownLog(MemoryLog(b"one\ntwo\n"))
    assert not known.lines(0, 100).truncated
    known.log = FullLog(b"one\ntwo\n")
    assert known.lines(0, 1).truncated


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


# -- over a socket

MIXED = (
    b"first\r\nsecond\n"
    + "日志 😀 é\u2028\x0b\x85\x0c\x00 one line\n".encode() * 3
    + b"\xff\xfe invalid \xf0\x9f\x98 \xed\xa0\x80\n\n\n"
    + b"x" * 2000
    + b"\n"
    + "没有".encode() * 300
    + b"\n"
    + "".join(f"行 {number} 😀\r\n" for number in range(400)).encode()
    + b"no end \xe6\x97"
)
ALL = lines_in(MIXED)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    raw = tmp_path_factory.mktemp("raw") / "raw"
    raw.write_bytes(MIXED)
    scripts = {
        "cat": f'#!/bin/sh\ncat "{raw}"\n',
        "nothing": "#!/bin/sh\n",
        "full": "#!/bin/sh\nyes 0123456789 | head -c 400000\n",
    }
    limit = {"maxLogBytesPerStream": 300_000}
    with RunnerProcess(tmp_path_factory.mktemp("runner"), scripts, runner=limit) as process:
        yield process


@pytest.mark.parametrize("page_bytes", [16, 1000, Settings().page_bytes])
def test_the_lines_of_a_real_log_equal_those_of_its_file(
    process: RunnerProcess, page_bytes: int
) -> None:
    settings = tiny(page_bytes, 64)
    last = len(ALL) - 1
    with ScriptRunner(process.url, settings=settings) as runner:
        job_id = process.run("cat")["jobId"]
        for offset, limit in [(last, 5), (0, 12), (7, 1), (8, 3), (300, 40), (last + 1, 9)]:
            lines = runner.lines(job_id, offset=offset, limit=limit)
            assert lines == LogLines(ALL[offset : offset + limit], len(ALL), False)


def test_an_empty_log_has_no_lines_and_a_full_one_says_so(process: RunnerProcess) -> None:
    runner = connect(process.url)
    assert runner.lines(process.run("nothing")["jobId"]) == LogLines([], 0, False)
    lines = runner.lines(process.run("full")["jobId"], offset=27_271)
    assert lines == LogLines(["0123456789", "01234567"], 27_273, True)


def test_threads_that_read_the_same_log_at_once_read_the_same(process: RunnerProcess) -> None:
    job_id = process.run("cat")["jobId"]
    offsets = [random.Random(seed).randrange(len(ALL)) for seed in range(200)]
    with (
        ScriptRunner(process.url, settings=tiny(4000, 64)) as runner,
        ThreadPoolExecutor(16) as threads,
    ):

        def page(offset: int) -> LogLines:
            return runner.lines(job_id, offset=offset, limit=20)

        for offset, found in zip(offsets, threads.map(page, offsets), strict=True):
            assert found == LogLines(ALL[offset : offset + 20], len(ALL), False)


def test_a_reader_does_not_wait_for_another_one_of_the_same_log() -> None:
    go_on, is_reading = Event(), Event()
    first = iter([True])

    def page(job_id: str, offset: int, limit: int) -> dict[str, object]:
        if next(first, False):
            is_reading.set()
            go_on.wait(20)
        return reference(b"a\nb\n")(job_id, offset, limit)  # type: ignore[return-value]

    with log_server(page) as server, ThreadPoolExecutor(1) as threads:
        slow = threads.submit(connect(server.url).lines, "job_1")
        is_reading.wait(20)
        assert connect(server.url).lines("job_1").lines == ["a", "b"]
        go_on.set()
        assert slow.result(20).lines == ["a", "b"]


def test_the_next_page_is_asked_for_before_this_one_is_there(connected: Connected) -> None:
    third = Event()

    def page(job_id: str, offset: int, limit: int) -> dict[str, object] | Action:
        if offset == 200:
            third.set()
        # The second page comes only after the third one was asked for.
        if offset == 100 and not third.wait(20):
            return Action.RESET
        return reference(b"a line\n" * 60)(job_id, offset, limit)

    with log_server(page) as server:
        runner = connected(server.url, settings=tiny(100, 50))
        assert runner.lines("job_1", limit=1) == LogLines(["a line"], 60, False)


async def test_a_page_that_is_not_wanted_after_all_is_not_waited_for() -> None:
    asked, ended = Event(), Event()
    # The second page ends inside a character, so that the third one begins before it.
    raw = b"a" * 99 + b"\n" + b"b" * 98 + "日\n".encode() + b"c" * 200

    def page(job_id: str, offset: int, limit: int) -> dict[str, object]:
        if offset == 200:
            asked.set()
            ended.wait(20)
        # The second page comes only after the third one was asked for.
        if offset == 100:
            assert asked.wait(20)
        return reference(raw)(job_id, offset, limit)  # type: ignore[return-value]

    with log_server(page) as server:
        async with AsyncScriptRunner(server.url, settings=tiny(100, 50)) as runner:
            assert (await runner.lines("job_1", limit=1)).total_lines == 3
        # Else it would say later, to nobody, why it failed.
        assert asyncio.all_tasks() == {asyncio.current_task()}
        ended.set()


def test_a_log_is_read_page_after_page_if_no_thread_can_be_started(
    process: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = process.run("cat")["jobId"]
    with ScriptRunner(process.url, settings=tiny(1000, 64)) as runner:
        refuse_threads(monkeypatch)
        assert runner.lines(job_id, offset=5, limit=30).lines == ALL[5:35]


def test_the_pages_of_the_reference_server_give_the_same_lines(connected: Connected) -> None:
    with log_server(reference(MIXED)) as server:
        runner = connected(server.url, settings=tiny(50, 500))
        assert runner.lines("job_1", offset=5, limit=30).lines == ALL[5:35]


def test_a_stream_of_a_job_of_a_runner_is_a_log_of_its_own() -> None:
    raws = {"job_1": b"one\n", "job_2": b"two\ntwo\n"}
    with log_server(
        lambda job_id, *wanted: MemoryLog(raws[job_id]).page(*wanted).to_dict()
    ) as server:
        for _ in range(2):
            assert [connect(server.url).lines(job_id).total_lines for job_id in raws] == [1, 2]


def test_only_the_logs_read_last_are_remembered() -> None:
    with log_server(reference(b"a\n" * 100)) as server:
        runner = ScriptRunner(server.url, settings=replace(Settings(), max_logs=3))

        def requests(job_id: str) -> int:
            before = len(server.requests)
            runner.lines(job_id, limit=1)
            return len(server.requests) - before

        # One to count its lines and one for the line, or the line alone.
        assert [requests(f"job_{number}") for number in (1, 2, 3, 1, 4)] == [2, 2, 2, 1, 2]
        assert [requests(f"job_{number}") for number in (3, 1, 4, 2)] == [1, 1, 1, 2]
        runner.close()


THREE = b"one\ntwo\nthree\n"


@pytest.mark.parametrize("asked", [{}, {"offset": 1, "limit": 1}], ids=["all", "known lines"])
@pytest.mark.parametrize(
    ("times", "new"),
    [(9, b"new\n"), (9, THREE), (2000, THREE * 1999)],
    ids=["other", "shorter", "behind the lines"],
)
def test_a_log_that_has_shrunk_is_an_invalid_response_and_then_read_anew(
    connected: Connected, asked: dict[str, Any], times: int, new: bytes
) -> None:
    raw = [THREE * times]
    with log_server(lambda *wanted: reference(raw[0])(*wanted)) as server:
        runner = connected(server.url)
        runner.lines("job_1")
        raw[0] = new
        shrunk = f"has shrunk from {times * len(THREE)} to {len(new)} bytes"
        said = rf"the stdout log of job job_1 at \S+ {shrunk}"
        with pytest.raises(InvalidResponse, match=said):
            runner.lines("job_1", **asked)
        anew = runner.lines("job_1")
        assert (anew.lines, anew.total_lines) == (lines_in(new)[:100], len(lines_in(new)))


def page_of(offset: int, next_offset: int, total_size: int, data: str) -> dict[str, object]:
    """A page with these fields."""
    page = MemoryLog(b"").page(0, 1).to_dict()
    named = {"offset": offset, "nextOffset": next_offset, "totalSize": total_size, "data": data}
    return page | named


STUCK: dict[str, Pages] = {
    "stop advancing": lambda _, offset, __: page_of(
        offset, min(offset + 1, 5), 99, "a"[offset > 4 :]
    ),
    "jump back": lambda _, offset, __: page_of(offset, 5 if not offset else 2, 99, "a\nb\nc"),
    "begin anew": lambda *_: page_of(0, 5, 99, "a\nb\nc"),
    "overlap": lambda _, offset, __: page_of(max(0, offset - 2), offset + 5, 99, "a\nb\nc"),
    "shrink": lambda _, offset, __: page_of(offset, offset + 5, 99 - offset, "a\nb\nc"),
    "are empty past a negative size": lambda _, offset, __: page_of(offset, offset, -1, ""),
}


@pytest.mark.parametrize("page", STUCK.values(), ids=STUCK)
def test_pages_that_do_not_fit_together_are_an_invalid_response_and_forgotten(page: Pages) -> None:
    with log_server(page) as server:
        runner = connect(server.url)
        for _ in range(2):
            with pytest.raises(InvalidResponse):
                runner.lines("job_1", offset=50)
        assert len(server.requests) < 25
        assert f"offset={0}&" in server.requests[-1].target or len(server.requests) > 2


def test_a_runner_that_was_away_is_read_on_from_where_it_was() -> None:
    away = [30]

    def page(job_id: str, offset: int, limit: int) -> dict[str, object] | Action:
        if offset in away:
            away.remove(offset)
            return Action.RESET
        return reference(b"123456789\n" * 6)(job_id, offset, limit)

    with log_server(page) as server:
        runner = ScriptRunner(server.url, settings=tiny(10, 8192))
        with pytest.raises(RunnerUnreachable):
            runner.lines("job_1")
        before = len(server.requests)
        assert runner.lines("job_1").lines == ["123456789"] * 6
        # The rest of the log, the end of it, and the pages of the lines.
        assert len(server.requests) - before <= 10
        runner.close()


class Interrupt(BaseException):
    """What can come at any moment, such as KeyboardInterrupt."""


def test_a_log_whose_page_was_half_noted_is_read_anew() -> None:
    """The index forgets what it cannot trust, for all who have it in their hands."""

    class Interrupted(str):
        def count(self, *_: Any) -> int:
            raise Interrupt

    known = KnownLog(MemoryLog(b"1\n2\n3\n"))
    page = read(log_of().page(0, 100), known.log)
    with pytest.raises(Interrupt):
        known.index.add(replace(page, text=Interrupted(page.text)))
    assert known.lines(1, 1) == LogLines(["2"], 3, False)


def test_an_unknown_job_is_rejected(process: RunnerProcess) -> None:
    with pytest.raises(RequestRejected) as caught:
        connect(process.url).lines("nope")
    assert (caught.value.status_code, caught.value.code) == (404, "JOB_NOT_FOUND")
