"""Signals that stop a runner: when its terminal closes, and while it takes up the history."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.support.processes import processes_of

SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "waits": "#!/bin/sh\necho ready\nwhile :; do sleep 0.05; done\n",
    # Says when it is told to end, and does not end; some shells would say so on a lost stderr.
    "stubborn": (
        "#!/bin/sh\nexec 2>/dev/null\ntrap 'touch \"$1\"' TERM\necho ready\n"
        "while :; do sleep 0.05; done\n"
    ),
}


def runner_in(folder: Path) -> RunnerProcess:
    return RunnerProcess(folder, SCRIPTS, runner={"maxConcurrent": 1, "killGraceSeconds": 1})


def events_of(runner: RunnerProcess, logged: int = 0) -> list[dict[str, Any]]:
    """What the log says from a line on, without the requests and what is another each time."""
    varies = ("time", "duration_ms", "processes_ended")
    return [
        {name: value for name, value in event.items() if name not in varies}
        for event in runner.events[logged:]
        if event["event"] != "request"
    ]


def test_sighup_is_a_stop_like_sigterm(tmp_path: Path) -> None:
    with runner_in(tmp_path) as runner:
        running = runner.submit("waits")
        runner.printed(running, "ready")
        queued = runner.submit("hello")
        logged = len(runner.logged())

        assert runner.stop(signal.SIGHUP) == 0

        assert [event["event"] for event in events_of(runner, logged)] == [
            "stopping", "job_end", "stopped"
        ]  # fmt: skip
        assert events_of(runner, logged)[0] == {"event": "stopping", "signal": "SIGHUP"}
        assert processes_of(running) == []
        runner.start()
        assert runner.job(running)["status"] == "canceled"
        assert runner.ended(queued)["status"] == "succeeded"


def test_a_terminal_that_is_closed_is_a_stop_though_nothing_can_be_said_any_more(
    tmp_path: Path,
) -> None:
    terminal, inside = os.openpty()
    with subprocess.Popen(
        runner_in(tmp_path).command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        preexec_fn=lambda: os.login_tty(inside),
    ) as process:
        os.close(inside)
        said = b""
        while b"listening" not in said:
            said += os.read(terminal, 4096)

        os.close(terminal)

        assert process.wait(20) == 0


def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    runner = runner_in(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        runner.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    os.kill(runner.pid, signal.SIGHUP)

    status = runner.run("hello")["status"]

    assert (status, runner.stop()) == ("succeeded", 0)
    assert [event["signal"] for event in runner.events if event["event"] == "stopping"] == [
        "SIGTERM"
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_recovers_is_a_stop_once_that_is_done(
    tmp_path: Path, number: signal.Signals
) -> None:
    told = tmp_path / "told"
    with runner_in(tmp_path) as runner:
        interrupted = runner.submit("stubborn", str(told))
        runner.printed(interrupted, "ready")
        queued = runner.submit("hello")
        runner.stop(signal.SIGKILL)
        logged = len(runner.events)

        runner.launch()
        # The recovery waits now for the end of a script that does not end.
        wait_until(told.exists)
        assert runner.stop(number) == 0

        stopping = {"signal": number.name, "message": "when the recovery is complete"}
        end = {"job_id": interrupted, "script_id": "stubborn", "status": "failed", "code": -1}
        assert events_of(runner, logged) == [
            {"event": "stopping", **stopping},
            {"event": "recovered", "interrupted_jobs": 1},
            {"event": "job_end", **end},
            {"event": "stopped"},
        ]
        assert processes_of(interrupted) == []
        runner.start()
        assert runner.job(interrupted)["status"] == "failed"
        assert runner.ended(queued)["status"] == "succeeded"
