"""The wire: pages of a log, in bytes, that do not cut characters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.talk import TAP, Tap

MIB = 1024 * 1024

SHORT = "日志\n"
NASTY = (
    "a日志😀é\r\n\u2028".encode()
    + b"\xff\xc0\xaf \xe6\x97 \xed\xa0\x80 \xf0\x9f\x98 \xf5\x80\x80\x80 \x80\x80\x80\x80 \xe6"
    + "\0😀😀日\ufeff\ufffd".encode()
    + b"\xf0\x9f"
)
"""Characters of every length, and everything that is no UTF-8: overlong, surrogate, cut, stray."""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    folder = tmp_path_factory.mktemp("logs")
    (folder / "nasty").write_bytes(NASTY)
    with RunnerProcess(
        folder,
        {
            "tap": TAP,
            "short": f"#!/bin/sh\nprintf '{SHORT}'\nprintf error >&2\n",
            "nasty": f"#!/bin/sh\nexec cat '{folder / 'nasty'}'\n",
            "large": f"#!/bin/sh\nhead -c {MIB + MIB // 2} /dev/zero | tr '\\0' x\n",
        },
        runner={"maxLogBytesPerStream": 2 * MIB},
    ) as started:
        yield started


@pytest.fixture(scope="module")
def short(runner: RunnerProcess) -> str:
    """A job that printed `SHORT`, seven bytes."""
    return str(runner.run("short")["jobId"])


@pytest.fixture(scope="module")
def large(runner: RunnerProcess) -> str:
    """A job that printed one and a half MiB."""
    return str(runner.run("large")["jobId"])


def page(runner: RunnerProcess, job_id: str, query: str = "") -> dict[str, Any]:
    response = runner.http.get(f"/jobs/{job_id}/logs?{query}")
    assert response.status_code == 200, response.text
    return dict(response.json())


def pages(runner: RunnerProcess, job_id: str, limit: int) -> list[dict[str, Any]]:
    """All pages of a log, as the spec says to read them."""
    read = [page(runner, job_id, f"limit={limit}")]
    while (offset := read[-1]["nextOffset"]) < read[-1]["totalSize"]:
        read.append(page(runner, job_id, f"offset={offset}&limit={limit}"))
        assert read[-1]["nextOffset"] > offset, "a page that does not advance"
    return read


def test_a_page_is_a_200_with_all_its_fields(runner: RunnerProcess, short: str) -> None:
    response = runner.http.get(f"/jobs/{short}/logs")

    assert (response.status_code, response.headers["content-type"], response.json()) == (
        200,
        "application/json; charset=utf-8",
        {
            "ok": True,
            "jobId": short,
            "stream": "stdout",
            "offset": 0,
            "nextOffset": 7,
            "totalSize": 7,
            "truncated": False,
            "data": SHORT,
        },
    )


@pytest.mark.parametrize(
    ("query", "offset", "next_offset", "data"),
    [
        ("stream=stdout", 0, 7, SHORT),
        ("stream=", 0, 7, SHORT),
        ("stream=stdout&stream=stderr", 0, 7, SHORT),
        ("offset=3", 3, 7, "志\n"),
        ("offset=3&limit=3", 3, 6, "志"),
        ("offset=6&limit=1", 6, 7, "\n"),
        ("offset=3&offset=0", 3, 7, "志\n"),
        ("offset=3.0", 3, 7, "志\n"),
        ("offset=3e0", 3, 7, "志\n"),
        ("offset=%203%20", 3, 7, "志\n"),
        ("offset=0x3", 3, 7, "志\n"),
        ("offset=7", 7, 7, ""),
        ("offset=900", 900, 900, ""),
        ("offset=9007199254740992", 2**53, 2**53, ""),
        ("offset=-0", 0, 7, SHORT),
        ("offset=-1", 0, 7, SHORT),
        ("offset=1.5", 0, 7, SHORT),
        ("offset=", 0, 7, SHORT),
        ("offset=abc", 0, 7, SHORT),
        ("offset=3,0", 0, 7, SHORT),
        ("offset=1_0", 0, 7, SHORT),
        ("offset=NaN", 0, 7, SHORT),
        ("offset=Infinity", 0, 7, SHORT),
        ("offset=1e999", 0, 7, SHORT),
        pytest.param("offset=0x" + "f" * 5000, 0, 7, SHORT, id="offset=0xfff..."),
        ("offset=%EF%BC%93", 0, 7, SHORT),
        ("limit=7", 0, 7, SHORT),
        ("limit=0", 0, 7, SHORT),
        ("limit=-1", 0, 7, SHORT),
        ("limit=0.5", 0, 7, SHORT),
        ("limit=none", 0, 7, SHORT),
    ],
)
def test_which_bytes_a_query_asks_for(
    runner: RunnerProcess, short: str, query: str, offset: int, next_offset: int, data: str
) -> None:
    response = page(runner, short, query)

    assert (response["offset"], response["nextOffset"], response["data"]) == (
        offset,
        next_offset,
        data,
    )
    assert (response["stream"], response["totalSize"]) == ("stdout", 7)


def test_stderr_is_a_stream_of_its_own(runner: RunnerProcess, short: str) -> None:
    response = page(runner, short, "stream=stderr")

    assert (response["stream"], response["totalSize"], response["data"]) == ("stderr", 5, "error")


@pytest.mark.parametrize("stream", ["bogus", "STDOUT", "stdout%20", "stdin"])
def test_any_other_stream_is_refused(runner: RunnerProcess, short: str, stream: str) -> None:
    response = runner.http.get(f"/jobs/{short}/logs?stream={stream}")

    error = {"code": "INVALID_ARGS", "message": "stream must be stdout or stderr"}
    assert (response.status_code, response.json()) == (400, {"ok": False, "error": error})


@pytest.mark.parametrize("query", ["", "?stream=bogus"])
def test_the_log_of_a_job_that_is_not_there_is_not_found(runner: RunnerProcess, query: str) -> None:
    response = runner.http.get(f"/jobs/nope/logs{query}")

    error = {"code": "JOB_NOT_FOUND", "message": "job not found: nope"}
    assert (response.status_code, response.json()) == (404, {"ok": False, "error": error})


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("", 65536),
        ("limit=-5", 65536),
        (f"limit={MIB}", MIB),
        (f"limit={MIB + 1}", MIB),
        ("limit=99999999", MIB),
        ("limit=99999999999999999999", MIB),
        (f"offset={MIB}&limit={MIB}", MIB // 2),
    ],
)
def test_a_page_has_64_kib_unless_told_and_1_mib_at_most(
    runner: RunnerProcess, large: str, query: str, size: int
) -> None:
    response = page(runner, large, query)

    assert response["data"] == "x" * size
    assert (response["nextOffset"] - response["offset"], response["totalSize"]) == (
        size,
        MIB + MIB // 2,
    )


@pytest.mark.parametrize(
    ("query", "next_offset", "data"),
    [
        ("limit=3", 3, "日"),
        ("limit=4", 3, "日"),
        ("limit=5", 3, "日"),
        ("limit=6", 6, "日志"),
        ("limit=2", 2, "\ufffd"),
        ("offset=1&limit=3", 3, "\ufffd\ufffd"),
        ("offset=1", 7, "\ufffd\ufffd志\n"),
    ],
)
def test_a_page_ends_before_a_character_it_would_cut_if_anything_is_left_of_it(
    runner: RunnerProcess, short: str, query: str, next_offset: int, data: str
) -> None:
    response = page(runner, short, query)

    assert (response["nextOffset"], response["data"]) == (next_offset, data)


@pytest.mark.parametrize("limit", [4, 5, 6, 7, 8, 9, 13, 64, 1000])
def test_pages_add_up_to_the_whole_log_decoded_at_once(runner: RunnerProcess, limit: int) -> None:
    read = pages(runner, runner.run("nasty")["jobId"], limit)

    assert "".join(one["data"] for one in read) == NASTY.decode("utf-8", "replace")
    assert [one["offset"] for one in read[1:]] == [one["nextOffset"] for one in read[:-1]]
    assert {one["totalSize"] for one in read} == {len(NASTY)}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_that_are_smaller_than_a_character_still_advance(
    runner: RunnerProcess, limit: int
) -> None:
    read = pages(runner, runner.run("nasty")["jobId"], limit)

    assert read[-1]["nextOffset"] == len(NASTY)


def test_half_a_character_at_the_end_of_a_running_log_waits_for_its_other_half(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        tap.write("a日志".encode()[:5])
        begun = wait_until(lambda: full_page(runner, job_id, 5))
        assert (begun["nextOffset"], begun["data"]) == (4, "a日")

        tap.write("a日志".encode()[5:])
        wait_until(lambda: full_page(runner, job_id, 7))
        rest = page(runner, job_id, "offset=4")
        assert (rest["nextOffset"], rest["data"]) == (7, "志")


def test_a_page_of_nothing_but_half_a_character_advances_even_while_the_script_runs(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        tap.write("日".encode()[:2])
        response = wait_until(lambda: full_page(runner, job_id, 2))

    assert (response["nextOffset"], response["data"]) == (2, "\ufffd")


def full_page(runner: RunnerProcess, job_id: str, size: int) -> dict[str, Any] | None:
    """The first page, once the log has so many bytes."""
    response = page(runner, job_id)
    return response if response["totalSize"] == size else None


def test_half_a_character_at_the_end_of_an_ended_log_is_invalid(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        tap.write("a日".encode()[:3])
    runner.ended(job_id)

    response = page(runner, job_id)

    assert (response["nextOffset"], response["totalSize"], response["data"]) == (3, 3, "a\ufffd")


@pytest.mark.parametrize(
    ("written", "truncated", "data"),
    [
        (b"12345678", False, "12345678"),
        (b"123456789", True, "12345678"),
        ("123456日".encode(), True, "123456\ufffd"),
    ],
)
def test_a_log_that_reached_its_limit_says_so(
    tmp_path: Path, written: bytes, truncated: bool, data: str
) -> None:
    with (
        RunnerProcess(tmp_path, {"tap": TAP}, runner={"maxLogBytesPerStream": 8}) as runner,
        Tap(tmp_path) as tap,
    ):
        job_id = runner.submit("tap", tap.path)
        tap.write(written)
        tap.close()
        job = runner.ended(job_id)

        response = page(runner, job_id)

    assert (response["totalSize"], response["truncated"], response["data"]) == (8, truncated, data)
    assert (job["stdoutSize"], job["stdoutTruncated"], job["stderrTruncated"]) == (
        8,
        truncated,
        False,
    )


@pytest.mark.parametrize("cut", ["stdout", "stderr"])
def test_only_the_stream_that_reached_its_limit_says_so(tmp_path: Path, cut: str) -> None:
    redirect = "" if cut == "stdout" else " >&2"
    with RunnerProcess(
        tmp_path,
        {"long": f"#!/bin/sh\necho 123456789{redirect}\n"},
        runner={"maxLogBytesPerStream": 8},
    ) as runner:
        job = runner.run("long")
        pages = {
            stream: page(runner, job["jobId"], f"stream={stream}")["truncated"]
            for stream in ("stdout", "stderr")
        }

    assert pages == {"stdout": cut == "stdout", "stderr": cut == "stderr"}
    assert pages == {stream: job[f"{stream}Truncated"] for stream in pages}
