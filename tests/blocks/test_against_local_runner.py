"""Each block against a local runner, with real scripts over a real socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from script_runner import InvalidInput, RequestRejected, RequestTimedOut
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.support.block_runner import RecordingContext, run_block

LINES = 30_000
LOG_LIMIT = 2_000_000

SCRIPTS = {
    "say": '#!/bin/sh\nprintf "%s\\n" "$@"\n',
    "fail": "#!/bin/sh\necho out; echo bad >&2; exit 3\n",
    "killed": "#!/bin/sh\nkill -9 $$\n",
    "big": f'#!/bin/sh\nseq -f "第 %.0f 行 ✓" 1 {LINES}\n',
    "bytes": "#!/bin/sh\nprintf '\\377\\376 a\\r\\n\\342\\200\\250b\\n\\346\\227'\n",
    "flood": "#!/bin/sh\nyes 0123456789 | head -c 3000000\n",
    "complain": "#!/bin/sh\nyes 0123456789 | head -c 3000000 >&2\n",
    "sleep": "#!/bin/sh\necho started; sleep $1; echo done\n",
    "slow": "#!/bin/sh\nsleep 30\n",
    "gate": '#!/bin/sh\n: >"$1.$$"; while [ ! -e "$1" ]; do sleep 0.5; done; echo open\n',
    "steps": "#!/bin/sh\nfor i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.1; done\n",
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(
        tmp_path_factory.mktemp("runner"),
        SCRIPTS,
        runner={"maxConcurrent": 200, "maxLogBytesPerStream": LOG_LIMIT},
        rules={"slow": {"timeoutSec": 1}},
    ) as process:
        yield process


def run(runner: RunnerProcess, block: str, context: RecordingContext | None = None, /, **inputs):  # type: ignore[no-untyped-def]
    return run_block(block, context, script_runner_url=runner.url, **inputs)


def started(runner: RunnerProcess, script_id: str, *args: str) -> str:
    job_id = run(runner, "run-script-async", script_id=script_id, args=list(args))["job_id"]
    assert isinstance(job_id, str)
    return job_id


def test_arguments_reach_the_script_as_they_are(runner: RunnerProcess) -> None:
    args = ["", "a b", "$HOME `id` ; rm", "-n", "日志 🎉", "line\nbreak"]
    outputs = run(runner, "run-script-sync", script_id="say", args=args)
    assert outputs["stdout"] == "".join(f"{arg}\n" for arg in args)
    assert (outputs["exit_code"], outputs["status"], outputs["stderr"]) == (0, "completed", "")


@pytest.mark.parametrize(
    ("script_id", "exit_code", "stdout", "stderr"),
    [("fail", 3, "out\n", "bad\n"), ("killed", 137, "", ""), ("slow", -1, "", "")],
)
def test_a_script_that_fails_is_a_result(
    runner: RunnerProcess, script_id: str, exit_code: int, stdout: str, stderr: str
) -> None:
    outputs = run(runner, "run-script-sync", script_id=script_id)
    assert outputs == {
        "stdout": stdout,
        "stderr": stderr,
        "exit_code": exit_code,
        "status": "failed",
        "job_id": outputs["job_id"],
        "truncated": False,
    }


def test_a_sync_run_returns_the_whole_of_a_big_multi_byte_output(runner: RunnerProcess) -> None:
    outputs = run(runner, "run-script-sync", script_id="big")
    assert outputs["stdout"] == "".join(f"第 {number} 行 ✓\n" for number in range(1, LINES + 1))


def test_invalid_bytes_come_out_as_one_decoder_would_give_them(runner: RunnerProcess) -> None:
    raw = b"\xff\xfe a\r\n\xe2\x80\xa8b\n\xe6\x97"
    outputs = run(runner, "run-script-sync", script_id="bytes")
    assert outputs["stdout"] == raw.decode("utf-8", "replace")
    logs = run(runner, "get-job-logs", job_id=outputs["job_id"])
    assert logs == {"logs": ["\ufffd\ufffd a", "\u2028b", "\ufffd"], "total_lines": 3} | {
        "truncated": False
    }


def test_lines_are_read_from_any_place(runner: RunnerProcess) -> None:
    job_id = run(runner, "run-script-sync", script_id="big")["job_id"]
    for offset, limit in [(0, 2), (LINES - 2, 100), (12_345, 3), (LINES, 5), (0.0, 1.0)]:
        logs = run(runner, "get-job-logs", job_id=job_id, offset=offset, limit=limit)
        numbers = range(int(offset) + 1, min(int(offset + limit), LINES) + 1)
        assert logs["logs"] == [f"第 {number} 行 ✓" for number in numbers]
        assert logs["total_lines"] == LINES


@pytest.mark.parametrize(("script_id", "stream"), [("flood", "stdout"), ("complain", "stderr")])
def test_output_that_the_runner_cut_is_flagged_and_warned_of(
    runner: RunnerProcess, script_id: str, stream: str
) -> None:
    context = RecordingContext()
    outputs = run(runner, "run-script-sync", context, script_id=script_id)
    job_id = outputs["job_id"]
    assert outputs["truncated"] is True
    assert len(outputs[stream]) == LOG_LIMIT
    assert len(context.warnings) == 1
    assert f"The {stream} of job {job_id} is cut" in context.warnings[0]
    logs = run(runner, "get-job-logs", context, job_id=job_id, stream=stream, limit=1)
    assert (logs["logs"], logs["truncated"]) == (["0123456789"], True)
    assert len(context.warnings) == 2


def test_what_a_block_returns_is_previewed_and_bounded(runner: RunnerProcess) -> None:
    context = RecordingContext()
    run(runner, "run-script-sync", context, script_id="fail")
    assert context.previews == [{"type": "text", "data": "out\nbad"}]
    run(runner, "run-script-sync", context, script_id="big")
    assert len(context.previews[1]["data"]) < 25_000
    assert context.previews[1]["data"].endswith(f"第 {LINES} 行 ✓")


def test_a_running_job_is_seen_running_and_then_ended(runner: RunnerProcess) -> None:
    job_id = started(runner, "sleep", "0.5")
    look = run(runner, "get-job-status", job_id=job_id)
    assert (look["status"], look["exit_code"]) == ("running", None)
    waited = run(runner, "wait-for-job", job_id=job_id, timeout_seconds=20)
    assert waited == {
        "status": "completed",
        "exit_code": 0,
        "stdout_preview": "started\ndone\n",
        "stderr_preview": "",
        "job_id": job_id,
    }


def test_waiting_passes_on_the_lines_of_both_streams(runner: RunnerProcess) -> None:
    context = RecordingContext()
    job_id = started(runner, "steps")
    run(runner, "wait-for-job", context, job_id=job_id, timeout_seconds=20)
    for stream, word in (("stdout", "out"), ("stderr", "err")):
        lines = [line for stdio, line in context.logs if stdio == stream]
        assert lines == [f"{word} {number}" for number in (1, 2, 3)]
    assert context.progress == sorted(context.progress)
    assert all(0 <= progress <= 100 for progress in context.progress)


def test_waiting_past_the_deadline_names_the_job_and_leaves_it(runner: RunnerProcess) -> None:
    job_id = started(runner, "sleep", "30")
    with pytest.raises(RequestTimedOut, match=f"{job_id}.*still running after 0.2 s.*cancel-job"):
        run(runner, "wait-for-job", job_id=job_id, timeout_seconds=0.2)
    assert run(runner, "get-job-status", job_id=job_id)["status"] == "running"
    assert run(runner, "cancel-job", job_id=job_id)["success"] is True


def test_a_running_job_is_told_to_end_and_then_cancelled(runner: RunnerProcess) -> None:
    job_id = started(runner, "sleep", "30")
    wait_until(lambda: run(runner, "get-job-status", job_id=job_id)["stdout_preview"])
    outputs = run(runner, "cancel-job", job_id=job_id)
    assert outputs["success"] is True
    assert "SIGTERM" in outputs["message"]
    wait_until(lambda: run(runner, "get-job-status", job_id=job_id)["status"] == "cancelled")
    look = run(runner, "get-job-status", job_id=job_id)
    assert (look["exit_code"], look["stdout_preview"]) == (None, "started\n")
    assert run(runner, "cancel-job", job_id=job_id)["success"] is True


def test_an_ended_job_is_not_cancelled(runner: RunnerProcess) -> None:
    job_id = run(runner, "run-script-sync", script_id="fail")["job_id"]
    outputs = run(runner, "cancel-job", job_id=job_id)
    assert outputs["success"] is False
    assert "failed" in outputs["message"]


def test_a_queued_job_is_seen_queued_and_cancelled_at_once(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1}) as busy:
        first, second = started(busy, "sleep", "30"), started(busy, "sleep", "30")
        assert run(busy, "get-job-status", job_id=second)["status"] == "queued"
        outputs = run(busy, "cancel-job", job_id=second)
        assert (outputs["success"], "cancelled" in outputs["message"]) == (True, True)
        assert run(busy, "get-job-status", job_id=first)["status"] == "running"


def test_150_sync_runs_at_once_do_not_keep_a_status_call_waiting(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with ThreadPoolExecutor(150) as pool:
        runs = [
            pool.submit(run, runner, "run-script-sync", script_id="gate", args=[str(gate)])
            for _ in range(150)
        ]
        waiting = wait_until(lambda: (files := list(tmp_path.iterdir()))[149:] and files, 60)
        begun = time.monotonic()
        with pytest.raises(RequestRejected, match="JOB_NOT_FOUND"):
            run(runner, "get-job-status", job_id="nope")
        seconds = time.monotonic() - begun
        gate.touch()
        results = [future.result() for future in runs]
    assert len(waiting) == 150
    assert [result["stdout"] for result in results] == ["open\n"] * 150
    # A tenth of the time limit of a call; it takes a few milliseconds.
    assert seconds < 3, "a status call waits for sync runs"


BAD_INPUTS = [
    ("run-script-async", {"script_id": ""}),
    ("run-script-async", {"script_id": None}),
    ("run-script-async", {"script_id": 5}),
    ("run-script-sync", {"script_id": "say", "args": "a"}),
    ("run-script-sync", {"script_id": "say", "args": [1]}),
    ("run-script-sync", {"script_id": "say", "args": ["\ud800"]}),
    ("get-job-status", {}),
    ("get-job-status", {"job_id": ["a"]}),
    ("get-job-logs", {"job_id": "a", "stream": "stdin"}),
    ("get-job-logs", {"job_id": "a", "offset": -1}),
    ("get-job-logs", {"job_id": "a", "offset": 1.5}),
    ("get-job-logs", {"job_id": "a", "offset": True}),
    ("get-job-logs", {"job_id": "a", "limit": 0}),
    ("get-job-logs", {"job_id": "a", "limit": "10"}),
    ("cancel-job", {"job_id": ""}),
    ("wait-for-job", {"job_id": "a", "timeout_seconds": -1}),
    ("wait-for-job", {"job_id": "a", "timeout_seconds": float("nan")}),
    ("get-job-status", {"job_id": "a", "script_runner_url": "localhost:3000"}),
    ("get-job-status", {"job_id": "a", "script_runner_url": "ftp://localhost"}),
]


@pytest.mark.parametrize(("block", "inputs"), BAD_INPUTS, ids=lambda value: repr(value))
def test_bad_input_is_refused_before_anything_is_sent(
    runner: RunnerProcess, block: str, inputs: dict[str, object]
) -> None:
    before = len(runner.logged())
    with pytest.raises(InvalidInput) as caught:
        run_block(block, **{"script_runner_url": runner.url, **inputs})
    culprit = list(inputs)[-1] if inputs else "job_id"
    assert culprit in str(caught.value)
    # One more: the line of looking itself.
    assert len(runner.logged()) == before + 1


def test_missing_and_null_inputs_take_their_defaults(runner: RunnerProcess) -> None:
    assert run(runner, "run-script-sync", script_id="say", args=None)["stdout"] == "\n"
    job_id = run(runner, "run-script-sync", script_id="fail")["job_id"]
    logs = run(runner, "get-job-logs", job_id=job_id, stream=None, offset=None, limit=None)
    assert logs["logs"] == ["out"]


def test_what_the_runner_refuses_is_said_in_its_words(runner: RunnerProcess) -> None:
    with pytest.raises(RequestRejected, match="400 SCRIPT_NOT_FOUND: script not found: nope"):
        run(runner, "run-script-async", script_id="nope")
    with pytest.raises(RequestRejected, match="404 JOB_NOT_FOUND: job not found: nope"):
        run(runner, "get-job-logs", job_id="nope")
