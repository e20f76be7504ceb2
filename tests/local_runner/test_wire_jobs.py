"""The wire: a job from the queue to its end, its exit code, its previews, its cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.talk import TAP, Tap, id_of_the_job_after, post_run

SLEEP = "#!/bin/sh\necho begun\nexec sleep 60\n"

SCRIPTS = {
    "tap": TAP,
    "exit": '#!/bin/sh\nexit "$1"\n',
    "kill": '#!/bin/sh\necho before\nkill -"$1" $$\n',
    "gone": "",
    "not-executable": "#!/bin/sh\n",
    "no-shebang": "echo no\n",
    "no-interpreter": "#!/no/such/interpreter\n",
    "takes-a-lot": "#!/bin/sh\n",
    "too-slow": SLEEP,
    "sleep": SLEEP,
    "stubborn": "#!/bin/sh\ntrap '' TERM\necho begun\nwhile :; do sleep 0.05; done\n",
}


def prepare(folder: Path, **runner: Any) -> RunnerProcess:
    prepared = RunnerProcess(
        folder,
        SCRIPTS,
        runner={"killGraceSeconds": 0.3, **runner},
        rules={
            "too-slow": {"timeoutSec": 1},
            "takes-a-lot": {"args": {"itemMaxLength": 1_000_000}},
        },
    )
    (folder / "gone.sh").unlink()
    (folder / "not-executable.sh").chmod(0o644)
    return prepared


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with prepare(tmp_path_factory.mktemp("jobs")) as started:
        yield started


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """A runner with one slot, previews of 8 bytes and logs of 16."""
    settings = {"maxConcurrent": 1, "previewMaxBytes": 8, "maxLogBytesPerStream": 16}
    with prepare(tmp_path_factory.mktemp("narrow"), **settings) as started:
        yield started


def state(job: dict[str, Any]) -> dict[str, Any]:
    """The fields that tell how far a job is, times only as whether they are there."""
    shown = {name: job[name] for name in ("status", "code", "durationMs")}
    return shown | {name: job[name] is not None for name in ("startedAt", "endedAt")}


QUEUED = {
    "status": "queued",
    "code": None,
    "durationMs": None,
    "startedAt": False,
    "endedAt": False,
}
RUNNING = {**QUEUED, "status": "running", "startedAt": True}
CANCELED_IN_THE_QUEUE = {
    "status": "canceled",
    "code": -1,
    "durationMs": 0,
    "startedAt": False,
    "endedAt": True,
}


def test_a_job_is_queued_while_all_slots_are_busy_then_runs_then_ends(
    narrow: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path, "first") as first, Tap(tmp_path, "second") as second:
        running = narrow.submit("tap", first.path)
        accepted = post_run(narrow, {"scriptId": "tap", "args": [second.path], "mode": "async"})
        queued = accepted.json()["jobId"]

        assert (accepted.status_code, accepted.json()) == (
            202,
            {"ok": True, "jobId": queued, "status": "queued"},
        )
        assert state(narrow.job(running)) == RUNNING
        assert state(narrow.job(queued)) == QUEUED
        assert narrow.log(queued) == ""

        first.write(b"x")
        first.close()
        wait_until(lambda: narrow.job(queued)["status"] == "running")
        second.write(b"x")
        assert state(narrow.job(queued)) == RUNNING
    job = narrow.ended(queued)
    assert state(job) == {
        "status": "succeeded",
        "code": 0,
        "durationMs": job["durationMs"],
        "startedAt": True,
        "endedAt": True,
    }
    assert job["createdAt"] <= job["startedAt"] <= job["endedAt"]


@pytest.mark.parametrize(
    ("script", "args", "status", "code", "stderr"),
    [
        ("exit", ["0"], "succeeded", 0, ""),
        ("exit", ["1"], "failed", 1, ""),
        ("exit", ["255"], "failed", 255, ""),
        ("kill", ["KILL"], "failed", 137, ""),
        ("kill", ["TERM"], "failed", 143, ""),
        ("gone", [], "failed", 127, "{}: no such file\n"),
        (
            "no-interpreter",
            [],
            "failed",
            127,
            "{}: its interpreter /no/such/interpreter is missing\n",
        ),
        ("not-executable", [], "failed", 126, "{}: may not be executed, run chmod +x on it\n"),
        (
            "no-shebang",
            [],
            "failed",
            126,
            "{}: not a program, a script needs a first line such as #!/bin/sh\n",
        ),
        (
            "takes-a-lot",
            ["x" * 900_000] * 2,
            "failed",
            -1,
            "{}: cannot be started: Argument list too long\n",
        ),
    ],
)
def test_the_code_of_a_job(
    runner: RunnerProcess, script: str, args: list[str], status: str, code: int, stderr: str
) -> None:
    job = runner.run(script, *args)

    expected = stderr.format(runner.folder / f"{script}.sh")
    assert (job["status"], job["code"], job["stderrPreview"]) == (status, code, expected)
    assert runner.log(job["jobId"], "stderr") == expected


def test_a_script_that_takes_too_long_has_timed_out(runner: RunnerProcess) -> None:
    job = runner.run("too-slow")

    assert (job["status"], job["code"], job["stdoutPreview"]) == ("timed_out", -1, "begun\n")
    assert job["durationMs"] in range(1000, 5000)
    assert runner.cancel(job["jobId"]) == job


@pytest.mark.parametrize("script", ["sleep", "stubborn"])
def test_a_cancelled_job_runs_on_for_a_moment_then_is_canceled(
    runner: RunnerProcess, script: str
) -> None:
    job_id = runner.submit(script)
    runner.printed(job_id, "begun")

    response = runner.cancel(job_id)

    assert (response["jobId"], state(response)) == (job_id, RUNNING)
    job = runner.ended(job_id)
    assert (job["status"], job["code"], job["stdoutPreview"]) == ("canceled", -1, "begun\n")
    assert runner.cancel(job_id) == job


def test_a_queued_job_is_canceled_at_once_and_a_sync_caller_is_told(
    narrow: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap, ThreadPoolExecutor() as threads:
        before = narrow.submit("tap", tap.path)
        waiting = threads.submit(narrow.run, "exit", "0")
        queued = wait_until(lambda: id_of_the_job_after(narrow, before))

        response = narrow.cancel(queued)

        assert state(response) == CANCELED_IN_THE_QUEUE
        assert waiting.result() == response == narrow.job(queued)
        tap.write(b"x")
    assert narrow.ended(before)["status"] == "succeeded"
    assert narrow.job(queued) == response


@pytest.mark.parametrize("script", ["exit", "gone"])
def test_a_job_that_has_ended_cannot_be_cancelled(runner: RunnerProcess, script: str) -> None:
    job = runner.run(script, "0")

    assert runner.cancel(job["jobId"]) == job


@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs/nope"), ("POST", "/jobs/nope/cancel")])
def test_a_job_that_is_not_there_is_not_found(
    runner: RunnerProcess, method: str, path: str
) -> None:
    response = runner.http.request(method, path)

    assert (response.status_code, response.json()) == (
        404,
        {"ok": False, "error": {"code": "JOB_NOT_FOUND", "message": "job not found: nope"}},
    )


def test_previews_are_live_and_leave_out_half_a_character(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    def preview() -> tuple[int, str]:
        job = runner.job(job_id)
        return job["stdoutSize"], job["stdoutPreview"]

    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        assert preview() == (0, "")
        tap.write("日志".encode()[:5])
        wait_until(lambda: preview() == (5, "日"))
        tap.write("日志".encode()[5:])
        wait_until(lambda: preview() == (6, "日志"))
        tap.write(b"\xe6\x97")
        wait_until(lambda: preview() == (8, "日志"))
    assert runner.ended(job_id)["stdoutPreview"] == "日志\ufffd"


@pytest.mark.parametrize(
    ("written", "preview", "size", "truncated"),
    [
        (b"12345678", "12345678", 8, False),
        (b"123456789", "23456789", 9, False),
        ("日志日志".encode(), "日志", 12, False),
        ("日😀日".encode(), "😀日", 10, False),
        (b"1234567890abcdef", "90abcdef", 16, False),
        (b"1234567890abcdefg", "0abcdefg", 16, True),
        ("1234567890日志日志".encode(), "日志", 16, True),
        (b"\x80" * 9, "\ufffd" * 5, 9, False),
    ],
)
def test_a_preview_is_of_the_last_bytes_from_the_beginning_of_a_character(
    narrow: RunnerProcess, tmp_path: Path, written: bytes, preview: str, size: int, truncated: bool
) -> None:
    with Tap(tmp_path) as tap:
        job_id = narrow.submit("tap", tap.path)
        tap.write(written)
    job = narrow.ended(job_id)

    assert (job["stdoutPreview"], job["stdoutSize"], job["stdoutTruncated"]) == (
        preview,
        size,
        truncated,
    )
