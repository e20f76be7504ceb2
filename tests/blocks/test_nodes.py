"""What a block shows on its node beside its outputs, with real scripts on a local runner."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from oocana.throttler import throttle

from script_runner import WaitTimedOut
from script_runner.oomol.node import MAX_LINES
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.support.block_runner import RecordingContext, run_block

SCRIPTS = {
    "slow": "#!/bin/sh\necho begun; exec sleep 30\n",
    "bar": (
        "#!/bin/sh\nfor i in 10 55 986 100; do printf '\\r%s%%' $i; sleep 0.2; done\n"
        "echo; echo 986 of 100\n"
    ),
    "quiet": "#!/bin/sh\nfor i in 1 2 3; do echo step $i; sleep 0.1; done\n",
    "many": f"#!/bin/sh\nseq 1 {MAX_LINES + 500}; echo 77%\n",
    "far": '#!/bin/sh\necho 40%\nwhile [ ! -e "$1" ]; do sleep 0.05; done\n',
    "gate": '#!/bin/sh\nwhile [ ! -e "$1" ]; do sleep 0.05; done\n',
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(
        tmp_path_factory.mktemp("runner"), SCRIPTS, rules={"slow": {"timeoutSec": 1}}
    ) as process:
        yield process


def waited(
    runner: RunnerProcess, script_id: str, *args: str, context: RecordingContext | None = None
) -> tuple[dict[str, Any], RecordingContext]:
    """Start a script and wait for it: the outputs, and what the node shows."""
    context, url = context or RecordingContext(), runner.url
    inputs = {"script_id": script_id, "args": list(args), "script_runner_url": url}
    job_id = run_block("run-script-async", **inputs)["job_id"]
    outputs = run_block(
        "wait-for-job", context, job_id=job_id, timeout_seconds=60, script_runner_url=url
    )
    return outputs, context


def test_the_time_limit_of_the_script_is_a_warning_of_every_block_that_sees_the_job(
    runner: RunnerProcess,
) -> None:
    outputs, context = waited(runner, "slow")
    job_id = outputs["job_id"]
    warning = (
        f"Job {job_id} was ended by the time limit of its script (timeoutSec in the runner's "
        "scripts.json)."
    )
    assert (outputs["status"], outputs["exit_code"]) == ("failed", -1)
    assert context.warnings == [warning]
    context = RecordingContext()
    run_block("get-job-status", context, job_id=job_id, script_runner_url=runner.url)
    assert context.warnings == [warning]
    context = RecordingContext()
    outputs = run_block("run-script-sync", context, script_id="slow", script_runner_url=runner.url)
    assert context.warnings == [warning.replace(job_id, outputs["job_id"])]


def test_the_progress_is_what_the_script_prints_and_of_a_line_the_last_state_is_shown(
    runner: RunnerProcess,
) -> None:
    _, context = waited(runner, "bar")
    assert context.progress[-1] == 100
    assert set(context.progress) <= {10, 55, 100}
    assert context.progress == sorted(context.progress)
    assert context.logs == [("stdout", "100%"), ("stdout", "986 of 100")]


class Throttled(RecordingContext):
    """As OOMOL has it: of all nodes of a process one is shown in 0.3 s, the last that asks."""

    @throttle(0.3)  # type: ignore[untyped-decorator]
    def report_progress(self, progress: float) -> None:
        super().report_progress(progress)


def test_the_progress_of_every_node_is_shown_however_many_there_are(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    gate, contexts = tmp_path / "gate", [Throttled() for _ in range(4)]
    with ThreadPoolExecutor(len(contexts)) as threads:
        for context in contexts:
            threads.submit(waited, runner, "far", str(gate), context=context)
        try:
            wait_until(lambda: all(context.progress for context in contexts))
        finally:
            gate.touch()
    assert {percent for context in contexts for percent in context.progress} == {40}


def test_a_script_that_prints_no_progress_has_none(runner: RunnerProcess) -> None:
    _, context = waited(runner, "quiet")
    assert context.progress == []
    assert context.logs == [("stdout", f"step {number}") for number in (1, 2, 3)]
    assert context.warnings == []


def test_the_node_shows_a_bounded_number_of_lines_and_the_progress_after_them(
    runner: RunnerProcess,
) -> None:
    _, context = waited(runner, "many")
    assert len(context.logs) == MAX_LINES + 1
    note = f"… {MAX_LINES} lines are shown here; the log of the job has them all."
    assert context.logs[-1] == ("stdout", note)
    assert context.progress[-1:] == [77]


def test_a_queued_job_is_said_to_be_queued_once(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    folder = tmp_path / "runner"
    folder.mkdir()
    with (
        RunnerProcess(folder, SCRIPTS, runner={"maxConcurrent": 1}) as busy,
        ThreadPoolExecutor(1) as threads,
    ):
        first = busy.submit("gate", str(gate))
        second = busy.submit("quiet")
        context = RecordingContext()
        inputs = {"job_id": second, "timeout_seconds": 60, "script_runner_url": busy.url}
        waiting = threads.submit(run_block, "wait-for-job", context, **inputs)
        wait_until(lambda: context.logs)
        polls = len(busy.events)
        wait_until(lambda: len(busy.events) > polls + 3)
        gate.touch()
        assert waiting.result(60)["status"] == "completed"
        assert busy.ended(first)["status"] == "succeeded"
    queued = f"Job {second} is queued: the runner is busy with others (maxConcurrent)."
    assert context.logs[0] == ("stdout", queued)
    assert [line for _, line in context.logs].count(queued) == 1


def test_a_wait_that_is_over_is_an_error_that_names_blocks(runner: RunnerProcess) -> None:
    job_id = runner.submit("slow")
    with pytest.raises(WaitTimedOut, match=r"timeout_seconds, look at it with get-job-status"):
        run_block("wait-for-job", job_id=job_id, timeout_seconds=0, script_runner_url=runner.url)


def test_why_the_runner_could_not_run_a_script_stands_at_the_end_of_stderr(
    tmp_path: Path,
) -> None:
    """The folder of its logs is gone, and a file is in its place."""
    with RunnerProcess(tmp_path, {"say": "#!/bin/sh\necho hello\n"}) as process:
        process.run("say")
        logs = tmp_path / "logs"
        assert logs.is_dir()
        shutil.rmtree(logs)
        logs.write_text("", "utf-8")
        outputs = run_block("run-script-sync", script_id="say", script_runner_url=process.url)
        preview = process.job(outputs["job_id"])["stderrPreview"]
    assert (outputs["status"], outputs["exit_code"]) == ("failed", -1)
    assert outputs["stderr"].endswith("\n")
    assert outputs["stderr"].strip("\n") == preview.strip("\n") != ""
