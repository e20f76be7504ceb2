"""The whole output of a job: from its preview where that is complete, else from the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated_client.api.jobs import get_job
from generated_client.models import Job
from script_runner import InvalidResponse, RequestRejected, connect, pages, whole_output
from tests.script_runner.documented import documented, documented_job
from tests.script_runner.log_strategies import QUICK, logs
from tests.script_runner.page_server import MemoryLog
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_answer
from tests.support.runner_process import RunnerProcess


def job_of(raw: bytes, preview_bytes: int = 4096, *, limit: int = 1024 * 1024) -> Job:
    """The job of a script that wrote these bytes, as the reference server answers it.

    Args:
        raw: What the script wrote.
        preview_bytes: `previewMaxBytes`.
        limit: `maxLogBytesPerStream`.
    """
    tail = raw[max(0, len(raw) - preview_bytes) :].decode("utf-8", "replace")
    return documented_job(
        stdoutSize=len(raw[:limit]), stdoutTruncated=len(raw) > limit, stdoutPreview=tail
    )


@contextlib.contextmanager
def serving(raw: bytes) -> Iterator[MisbehavingServer]:
    """A server of this log, with the pages of the reference server."""

    def answer(request: Request) -> Iterator[Step]:
        query = parse_qs(urlsplit(request.target).query)
        page = MemoryLog(raw).page(int(query["offset"][0]), int(query["limit"][0]))
        yield json_answer(200, page.to_dict())

    with MisbehavingServer(answer) as server:
        yield server


COMPLETE = [b"", b"start\n", "日志 😀\n".encode(), b"\x00\r\n\x1b[0m", b"x" * 4096]


@pytest.mark.parametrize("raw", COMPLETE, ids=len)
def test_a_complete_preview_is_the_output_and_nothing_is_asked(raw: bytes) -> None:
    with serving(raw) as server:
        assert whole_output(connect(server.url), job_of(raw), "stdout") == raw.decode()
    assert server.requests == []


INCOMPLETE: dict[str, tuple[bytes, int]] = {
    "longer than its preview": (b"0123456789" * 500, 4096),
    "one byte longer than its preview": (b"x" * 4097, 4096),
    "without a preview": (b"start\n", 0),
    "invalid bytes": (b"\xff\xfe\n", 4096),
    "a replacement that the script wrote": ("\ufffd\n".encode(), 4096),
    "half a character at its end": ("日".encode()[:2], 4096),
    # Four bytes: the last of one character and the whole of the next; six bytes as text.
    "a preview as long as the log by chance": ("日志".encode(), 4),
    "a preview as long as the log by chance, at its end": (b"abc\xe6\x97\xa5\xff", 4),
}


@pytest.mark.parametrize(("raw", "preview_bytes"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_an_output_is_read_from_the_log_where_its_preview_is_not_all_of_it(
    raw: bytes, preview_bytes: int
) -> None:
    job = job_of(raw, preview_bytes)
    with serving(raw) as server:
        output = whole_output(connect(server.url), job, "stdout")
    assert output == raw.decode("utf-8", "replace")
    assert {request.target.partition("?")[0] for request in server.requests} == {
        f"/jobs/{job.job_id}/logs"
    }


def test_the_chance_is_one() -> None:
    raw, preview_bytes = INCOMPLETE["a preview as long as the log by chance"]
    job = job_of(raw, preview_bytes)
    assert len(job.stdout_preview.encode()) == job.stdout_size
    assert job.stdout_preview != raw.decode()


def test_a_truncated_output_is_what_the_log_has_not_what_came_last() -> None:
    # The preview is as long as the log, but of what the script wrote last.
    job = job_of(b"first\nlast.\n", preview_bytes=6, limit=6)
    assert job.stdout_preview == "last.\n"
    with serving(b"first\n") as server:
        assert whole_output(connect(server.url), job, "stdout") == "first\n"


def test_the_output_ends_where_the_job_said() -> None:
    job = job_of(b"x" * 5000)
    with serving(b"x" * 9000) as server:
        assert whole_output(connect(server.url), job, "stdout") == "x" * 5000


def test_each_stream_has_its_own_preview_and_size() -> None:
    job = documented_job("failed")
    with serving(b"") as server:
        runner = connect(server.url)
        assert (whole_output(runner, job, "stdout"), whole_output(runner, job, "stderr")) == (
            "out\n",
            "bad\n",
        )
    assert server.requests == []


def test_a_log_that_is_shorter_than_the_job_said_is_an_invalid_response() -> None:
    with (
        serving(b"x" * 10) as server,
        pytest.raises(InvalidResponse, match="has shrunk from 5000 to 10 bytes"),
    ):
        whole_output(connect(server.url), job_of(b"x" * 5000), "stdout")


def test_a_log_that_is_gone_is_rejected() -> None:
    body = documented("getJobLogs", "job-not-found")
    with MisbehavingServer(lambda _: [json_answer(404, body)]) as server:
        with pytest.raises(RequestRejected) as caught:
            whole_output(connect(server.url), job_of(b"x" * 5000), "stdout")
        assert caught.value.code == "JOB_NOT_FOUND"


@QUICK
@given(logs, st.integers(0, 40))
def test_the_output_equals_the_whole_log_decoded(raw: bytes, preview_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PAGE_BYTES", 16)
        patch.setattr("script_runner.output.RunnerLog", lambda *_: MemoryLog(raw))
        output = whole_output(connect(), job_of(raw, preview_bytes), "stdout")
    assert output == raw.decode("utf-8", "replace")


REAL = {
    "nothing": b"",
    "text": "日志 😀\r\n".encode() * 90_000,
    "invalid": b"\xff\xf0\x9f" * 2000 + b"\xe6",
    "all-bytes": bytes(range(256)) * 5000,
}


def test_the_whole_output_of_real_jobs(tmp_path: Path) -> None:
    scripts = {}
    for name, raw in REAL.items():
        path = tmp_path / f"{name}.raw"
        path.write_bytes(raw)
        scripts[name] = f'#!/bin/sh\ncat "{path}"; cat "{path}" >&2\n'
    limit = {"maxLogBytesPerStream": 10_000_000}
    with RunnerProcess(tmp_path, scripts, runner=limit) as process:
        runner = connect(process.url)
        for name, raw in REAL.items():
            job = runner.call(get_job, process.run(name)["jobId"])
            assert job.stdout_size == job.stderr_size == len(raw)
            assert whole_output(runner, job, "stdout") == raw.decode("utf-8", "replace")
            assert whole_output(runner, job, "stderr") == raw.decode("utf-8", "replace")


def test_a_job_id_of_the_runner_that_cannot_be_asked_for_is_an_invalid_response() -> None:
    job = job_of(b"x" * 5000)
    job.job_id = "j" * 70_000
    with serving(b"") as server, pytest.raises(InvalidResponse) as caught:
        whole_output(connect(server.url), job, "stdout")
    assert str(caught.value) == (
        f"the job that {server.url} answered has an id that cannot be asked for: "
        f"{'j' * 200}…. Is this the URL of a script-runner?"
    )
    assert server.requests == []
