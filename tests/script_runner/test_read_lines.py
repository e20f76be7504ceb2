"""`read_lines` over a socket: real files through a local runner, and servers that are no runner."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from script_runner import (
    InvalidResponse,
    LogLines,
    RequestRejected,
    Runner,
    RunnerUnreachable,
    connect,
    lines,
    pages,
    read_lines,
)
from tests.script_runner.page_server import MemoryLog, Pages, lines_in, log_server, reference
from tests.support.misbehaving_server import Action
from tests.support.runner_process import RunnerProcess

MIXED = (
    b"first\r\nsecond\n"
    + "日志 😀 é\u2028\x0b\x85\x0c\x00 one line\n".encode() * 3
    + b"\xff\xfe invalid \xf0\x9f\x98 \xed\xa0\x80\n\n\n"
    + b"x" * 5000
    + b"\n"
    + "没有".encode() * 700
    + b"\n"
    + "".join(f"行 {number} 😀\r\n" for number in range(3000)).encode()
    + b"no end \xe6\x97"
)


@pytest.fixture(autouse=True)
def _known_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_indexes", lines._Indexes())


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    raw = tmp_path_factory.mktemp("raw") / "raw"
    raw.write_bytes(MIXED)
    scripts = {
        "cat": f'#!/bin/sh\ncat "{raw}"\n',
        "both": "#!/bin/sh\necho out; echo err >&2\n",
        "nothing": "#!/bin/sh\n",
        "full": "#!/bin/sh\nyes 0123456789 | head -c 400000\n",
    }
    limit = {"maxLogBytesPerStream": 300_000}
    with RunnerProcess(tmp_path_factory.mktemp("runner"), scripts, runner=limit) as process:
        yield process


@pytest.mark.parametrize("page_bytes", [16, 1000, pages.PAGE_BYTES])
def test_the_lines_of_a_real_log_equal_those_of_its_file(
    process: RunnerProcess, page_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", page_bytes)
    monkeypatch.setattr(lines, "PAGE_BYTES", max(page_bytes, 1000))
    monkeypatch.setattr(lines, "CHECKPOINT_BYTES", 64)
    all_lines = lines_in(MIXED)
    runner, job_id = connect(process.url), process.run("cat")["jobId"]
    last = len(all_lines) - 1
    for offset, limit in [(last, 5), (0, 12), (7, 1), (8, 3), (2500, 40), (last + 1, 9), (3, 2)]:
        assert read_lines(runner, job_id, offset=offset, limit=limit) == LogLines(
            all_lines[offset : offset + limit], len(all_lines), last, False
        )


def test_each_stream_has_its_own_lines(process: RunnerProcess) -> None:
    runner, job_id = connect(process.url), process.run("both")["jobId"]
    assert read_lines(runner, job_id).lines == ["out"]
    assert read_lines(runner, job_id, "stderr").lines == ["err"]


def test_an_empty_log_has_no_lines(process: RunnerProcess) -> None:
    job_id = process.run("nothing")["jobId"]
    assert read_lines(connect(process.url), job_id) == LogLines([], 0, 0, False)


def test_a_full_log_says_so_and_may_end_in_half_a_line(process: RunnerProcess) -> None:
    job_id = process.run("full")["jobId"]
    read = read_lines(connect(process.url), job_id, offset=27_271)
    assert read == LogLines(["0123456789", "01234567"], 27_273, 27_272, True)


def test_an_unknown_job_is_rejected(process: RunnerProcess) -> None:
    with pytest.raises(RequestRejected) as caught:
        read_lines(connect(process.url), "nope")
    assert (caught.value.status_code, caught.value.code) == (404, "JOB_NOT_FOUND")


def test_threads_that_read_the_same_log_at_once_read_the_same(
    process: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PAGE_BYTES", 4000)
    monkeypatch.setattr(lines, "CHECKPOINT_BYTES", 64)
    all_lines = lines_in(MIXED)
    runner, job_id = connect(process.url), process.run("cat")["jobId"]
    offsets = [random.Random(seed).randrange(len(all_lines)) for seed in range(200)]

    def read(offset: int) -> LogLines:
        return read_lines(runner, job_id, offset=offset, limit=20)

    with ThreadPoolExecutor(16) as threads:
        for offset, found in zip(offsets, threads.map(read, offsets), strict=True):
            assert found.lines == all_lines[offset : offset + 20]
            assert found.total_lines == len(all_lines)


def test_the_pages_of_the_reference_server_give_the_same_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 50)
    monkeypatch.setattr(lines, "PAGE_BYTES", 500)
    with log_server(reference(MIXED)) as server:
        read = read_lines(connect(server.url), "job_1", offset=5, limit=30)
    assert read.lines == lines_in(MIXED)[5:35]


def test_a_later_page_of_lines_is_one_request() -> None:
    with log_server(reference(b"a line\n" * 10_000)) as server:
        runner = connect(server.url)
        read_lines(runner, "job_1", offset=9_000)
        before = len(server.requests)
        assert read_lines(runner, "job_1", offset=5_000).lines == ["a line"] * 100
        assert len(server.requests) - before == 1


def test_a_stream_of_a_job_of_a_runner_is_a_log_of_its_own() -> None:
    logs = {"job_1": b"one\n", "job_2": b"two\ntwo\n"}
    with log_server(
        lambda job_id, offset, limit: MemoryLog(logs[job_id]).page(offset, limit).to_dict()
    ) as server:
        runner = connect(server.url)
        assert [read_lines(runner, job_id).total_lines for job_id in logs] == [1, 2]
        assert [read_lines(runner, job_id).total_lines for job_id in logs] == [1, 2]


def test_only_the_logs_read_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_INDEXES", 3)
    with log_server(reference(b"a\n" * 100)) as server:
        runner = connect(server.url)
        for job_id in ["job_1", "job_2", "job_3", "job_1", "job_4"]:
            read_lines(runner, job_id)
    known = [job_id for _, job_id, _ in lines._indexes._by_log]
    assert known == ["job_3", "job_1", "job_4"]


def test_a_log_that_has_shrunk_is_an_invalid_response_and_then_read_anew() -> None:
    raw = [b"one\ntwo\nthree\n"]
    with log_server(lambda job_id, *wanted: reference(raw[0])(job_id, *wanted)) as server:
        runner = connect(server.url)
        read_lines(runner, "job_1")
        raw[0] = b"new\n"
        with pytest.raises(InvalidResponse, match="has shrunk from 14 to 4 bytes") as caught:
            read_lines(runner, "job_1")
        assert f"the stdout log of job job_1 at {server.url}" in str(caught.value)
        assert read_lines(runner, "job_1").lines == ["new"]


def test_a_log_that_shrinks_under_a_known_page_is_an_invalid_response_and_then_read_anew() -> None:
    raw = [b"one\ntwo\nthree\n" * 9]
    with log_server(lambda job_id, *wanted: reference(raw[0])(job_id, *wanted)) as server:
        runner = connect(server.url)
        read_lines(runner, "job_1")
        raw[0] = b"new\n"
        with pytest.raises(InvalidResponse, match="has shrunk from 126 to 4 bytes"):
            read_lines(runner, "job_1", offset=1, limit=1)
        assert read_lines(runner, "job_1").lines == ["new"]


def page_of(offset: int, next_offset: int, total_size: int, data: str) -> dict[str, object]:
    """A page with these fields."""
    page = MemoryLog(b"").page(0, 1).to_dict()
    named = {"offset": offset, "nextOffset": next_offset, "totalSize": total_size, "data": data}
    return page | named


STUCK: dict[str, Pages] = {
    "do not advance": lambda _, offset, __: page_of(offset, offset, 99, ""),
    "stop advancing": lambda _, offset, __: page_of(
        offset, min(offset + 1, 5), 99, "a"[offset > 4 :]
    ),
    "jump back": lambda _, offset, __: page_of(offset, 5 if not offset else 2, 99, "a\nb\nc"),
    "begin anew": lambda *_: page_of(0, 5, 99, "a\nb\nc"),
    "overlap": lambda _, offset, __: page_of(max(0, offset - 2), offset + 5, 99, "a\nb\nc"),
    "shrink": lambda _, offset, __: page_of(offset, offset + 5, 99 - offset, "a\nb\nc"),
    "have no text": lambda _, offset, __: page_of(offset, offset + 5, 99, ""),
    "are empty past a negative size": lambda _, offset, __: page_of(offset, offset, -1, ""),
}


@pytest.mark.parametrize("page", STUCK.values(), ids=STUCK)
def test_pages_that_do_not_fit_together_are_an_invalid_response_and_forgotten(page: Pages) -> None:
    with log_server(page) as server:
        runner = connect(server.url)
        for _ in range(2):
            with pytest.raises(InvalidResponse):
                read_lines(runner, "job_1", offset=50)
            assert [index.size for index in lines._indexes._by_log.values()] == [0]
        assert len(server.requests) < 25


def test_a_runner_that_was_away_is_read_on_from_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "PAGE_BYTES", 10)
    away = [30]

    def page(_: str, offset: int, limit: int) -> dict[str, object] | Action:
        if offset in away:
            away.remove(offset)
            return Action.RESET
        return MemoryLog(b"123456789\n" * 6).page(offset, limit).to_dict()

    def read(runner: Runner) -> LogLines:
        return read_lines(runner, "job_1")

    with log_server(page) as server:
        runner = connect(server.url)
        with pytest.raises(RunnerUnreachable):
            read(runner)
        before = len(server.requests)
        assert read(runner).lines == ["123456789"] * 6
        # The rest of the log, the end of it, and the page of the lines.
        assert len(server.requests) - before <= 5
