"""How a script runs and ends: cancels, time limits, what it leaves behind, what it prints."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts.runner_process import RunnerProcess, ended_or_none
from scripts.waiting import wait_until
from tests.support.processes import processes_of

GRACE_SECONDS = 0.5
LOG_LIMIT = 1024 * 1024

LOOP = "while :; do sleep 0.05; done"
LEFT_STUBBORN = f"(trap '' TERM; {LOOP})"
DAEMON = (
    f"#!{sys.executable}\nimport os, time\nos.fork() and os._exit(0)\nos.setsid()\n"
    "print('daemon', flush=True)\n"
)
UNTIL_FILE = 'while [ ! -e "$1" ]; do sleep 0.02; done'

SCRIPTS = {
    "family": "#!/bin/sh\nsleep 300 &\nsh -c 'sleep 300; :' &\necho ready\nwait\n",
    "stubborn": f"#!/bin/sh\ntrap '' TERM\necho ready\n{LOOP}\n",
    "stubborn-child": f"#!/bin/sh\n{LEFT_STUBBORN} &\necho ready\nwait\n",
    "polite": f"#!/bin/sh\ntrap 'echo goodbye; exit 0' TERM\necho ready\n{LOOP}\n",
    "leaves-a-child": "#!/bin/sh\n(sleep 0.1; echo late; sleep 300) &\necho early\nexit 5\n",
    "leaves-a-stubborn-child": f"#!/bin/sh\n{LEFT_STUBBORN} &\n",
    "leaves-a-daemon": f"{DAEMON}time.sleep(300)\n",
    "leaves-a-silent-daemon": f"{DAEMON}os.closerange(0, 3)\ntime.sleep(300)\n",
    "reads": "#!/bin/sh\ncat\necho nothing more\n",
    "closes-its-outputs": f"#!/bin/sh\necho closing\nexec >&- 2>&-\n{UNTIL_FILE}\nexit 7\n",
    "prints-on-the-way": f"#!/bin/sh\necho one\necho bad >&2\n{UNTIL_FILE}\necho two\n",
    "floods": (
        "#!/bin/sh\nhead -c 250000000 /dev/zero &\nhead -c 250000000 /dev/zero >&2 &\nwait\n"
    ),
    "invalid-utf-8": "#!/bin/sh\nprintf 'a\\377b\\n\\346\\227'\n",
    "exits": '#!/bin/sh\nexit "$1"\n',
    "killed": '#!/bin/sh\nkill -"$1" $$\n',
    "missing": "",
    "not-executable": "#!/bin/sh\n",
    "not-a-program": "echo hello\n",
    "no-interpreter": "#!/no/such/interpreter\n",
}
RULES = {
    name: {"timeoutSec": 1}
    for name in ("family", "stubborn-child", "polite", "leaves-a-stubborn-child")
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    folder = tmp_path_factory.mktemp("process")
    settings = {"killGraceSeconds": GRACE_SECONDS, "maxLogBytesPerStream": LOG_LIMIT}
    prepared = RunnerProcess(folder, SCRIPTS, runner=settings, rules=RULES)
    (folder / "missing.sh").unlink()
    (folder / "not-executable.sh").chmod(0o644)
    with prepared:
        yield prepared


def end_what_is_left_of(job_id: str) -> int:
    """Kill the processes of a job; returns how many there were."""
    left = processes_of(job_id)
    for process in left:
        # Some end when another of them does.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(left)


@pytest.mark.parametrize("script", ["family", "stubborn-child", "polite"])
def test_a_time_limit_ends_the_script_and_all_it_started(
    runner: RunnerProcess, script: str
) -> None:
    job = runner.run(script)

    assert (job["status"], job["code"]) == ("timed_out", -1)
    assert 1000 <= job["durationMs"] < 15_000
    assert processes_of(job["jobId"]) == []


@pytest.mark.parametrize("script", ["family", "stubborn", "stubborn-child", "polite"])
def test_a_cancel_ends_the_script_and_all_it_started(runner: RunnerProcess, script: str) -> None:
    job_id = runner.submit(script)
    runner.printed(job_id, "ready")

    response = runner.cancel(job_id)
    ended = runner.ended(job_id)

    assert (response["status"], response["code"]) == ("running", None)
    assert (ended["status"], ended["code"]) == ("canceled", -1)
    assert processes_of(job_id) == []


def test_what_ignores_sigterm_has_the_grace_before_it_is_killed(runner: RunnerProcess) -> None:
    job_id = runner.submit("stubborn")
    runner.printed(job_id, "ready")

    runner.cancel(job_id)

    assert runner.ended(job_id)["durationMs"] >= GRACE_SECONDS * 1000


def test_what_a_script_says_on_sigterm_is_in_its_log(runner: RunnerProcess) -> None:
    job_id = runner.submit("polite")
    runner.printed(job_id, "ready")

    runner.cancel(job_id)

    assert runner.ended(job_id)["stdoutPreview"] == runner.log(job_id) == "ready\ngoodbye\n"


def test_a_second_cancel_changes_nothing(runner: RunnerProcess) -> None:
    job_id = runner.submit("family")
    runner.printed(job_id, "ready")

    runner.cancel(job_id)
    runner.cancel(job_id)
    ended = runner.ended(job_id)

    assert ended["status"] == "canceled"
    assert runner.cancel(job_id) == runner.job(job_id) == ended


def test_a_child_that_keeps_the_output_open_does_not_keep_the_job(runner: RunnerProcess) -> None:
    job = runner.run("leaves-a-child")

    assert (job["status"], job["code"]) == ("failed", 5)
    assert job["durationMs"] < 15_000
    assert job["stdoutPreview"] == runner.log(job["jobId"]) == "early\nlate\n"
    assert end_what_is_left_of(job["jobId"]) > 0


@pytest.mark.parametrize("script", ["leaves-a-daemon", "leaves-a-silent-daemon"])
def test_a_daemon_lives_on_when_its_script_has_ended(runner: RunnerProcess, script: str) -> None:
    job = runner.run(script)

    assert (job["status"], job["code"]) == ("succeeded", 0)
    assert job["stdoutPreview"] == "daemon\n"
    assert end_what_is_left_of(job["jobId"]) == 1


def test_a_script_that_ended_in_time_is_not_timed_out_by_what_it_left(
    runner: RunnerProcess,
) -> None:
    job = runner.run("leaves-a-stubborn-child")

    end_what_is_left_of(job["jobId"])
    assert (job["status"], job["code"]) == ("succeeded", 0)


def test_a_cancel_just_after_the_exit_leaves_nothing_to_be_ended_later(tmp_path: Path) -> None:
    script = {"leaves-a-child": f'#!/bin/sh\n{LEFT_STUBBORN} &\necho "$$."\n'}
    with RunnerProcess(tmp_path, script, runner={"killGraceSeconds": 3}) as runner:
        job_id = runner.submit("leaves-a-child")
        runner.printed(job_id, ".")
        pid = int(runner.log(job_id).rstrip(".\n"))
        wait_until(lambda: not psutil.pid_exists(pid))

        runner.cancel(job_id)
        ended = runner.ended(job_id)

        left = end_what_is_left_of(job_id)
        assert ended["status"] == "succeeded" or (ended["status"], left) == ("canceled", 0)


def test_a_cancel_is_not_held_up_by_a_dead_process_that_nobody_reaps(tmp_path: Path) -> None:
    # Its child leaves the group and never reaps the grandchild, which stays in the group.
    text = f"""#!{sys.executable}
import os, time
if os.fork() == 0 and os.fork():
    os.setsid()
    print("ready", flush=True)
    os.closerange(0, 3)
time.sleep(300)
"""
    script = {"has-a-zombie": text}
    with RunnerProcess(tmp_path, script, runner={"killGraceSeconds": 10}) as runner:
        job_id = runner.submit("has-a-zombie")
        runner.printed(job_id, "ready")

        runner.cancel(job_id)
        cancelled_at = time.monotonic()
        ended = runner.ended(job_id)

        end_what_is_left_of(job_id)
        assert ended["status"] == "canceled"
        assert time.monotonic() - cancelled_at < 10


def test_a_script_reads_nothing_from_the_stdin_of_the_runner(runner: RunnerProcess) -> None:
    assert runner.run("reads")["stdoutPreview"] == "nothing more\n"


def test_a_script_that_closes_its_outputs_goes_on(runner: RunnerProcess, tmp_path: Path) -> None:
    job_id = runner.submit("closes-its-outputs", str(tmp_path / "gate"))
    runner.printed(job_id, "closing")

    assert runner.job(job_id)["status"] == "running"
    (tmp_path / "gate").touch()
    ended = runner.ended(job_id)

    assert (ended["status"], ended["code"]) == ("failed", 7)
    assert ended["stdoutPreview"] == "closing\n"


def test_output_is_there_while_the_script_runs(runner: RunnerProcess, tmp_path: Path) -> None:
    job_id = runner.submit("prints-on-the-way", str(tmp_path / "gate"))

    running = wait_until(lambda: has_printed(runner.job(job_id)))
    log, errors = runner.log(job_id), runner.log(job_id, "stderr")
    (tmp_path / "gate").touch()
    ended = runner.ended(job_id)

    assert (
        (running["stdoutPreview"], running["stderrPreview"]) == (log, errors) == ("one\n", "bad\n")
    )
    assert (running["stdoutSize"], running["stderrSize"]) == (4, 4)
    assert ended["stdoutPreview"] == runner.log(job_id) == "one\ntwo\n"
    assert (ended["status"], ended["stdoutSize"]) == ("succeeded", 8)


def has_printed(job: dict[str, object]) -> dict[str, object] | None:
    """A running job once both streams have something."""
    assert job["status"] == "running"
    return job if job["stdoutSize"] and job["stderrSize"] else None


def test_a_flood_on_both_streams_costs_no_memory(runner: RunnerProcess) -> None:
    process = psutil.Process(runner.pid)
    before = most = process.memory_info().rss

    job_id = runner.submit("floods")
    while (job := ended_or_none(runner.job(job_id))) is None:
        most = max(most, process.memory_info().rss)

    assert job["status"] == "succeeded"
    assert (job["stdoutSize"], job["stderrSize"]) == (LOG_LIMIT, LOG_LIMIT)
    assert (job["stdoutTruncated"], job["stderrTruncated"]) == (True, True)
    for stream in ("stdout", "stderr"):
        log = runner.folder / "logs" / f"{job_id}.{stream}.log"
        assert log.stat().st_size == LOG_LIMIT
    assert most - before < 50_000_000


def test_output_that_is_not_utf_8_is_kept_as_it_is(runner: RunnerProcess) -> None:
    job = runner.run("invalid-utf-8")

    log = runner.folder / "logs" / job["stdoutRef"]
    assert log.read_bytes() == b"a\xffb\n\xe6\x97"
    assert job["stdoutSize"] == 6
    assert job["stdoutPreview"] == runner.log(job["jobId"]) == "a\ufffdb\n\ufffd"


@pytest.mark.parametrize(
    ("script", "args", "code", "reason"),
    [
        ("exits", ["0"], 0, ""),
        ("exits", ["3"], 3, ""),
        ("exits", ["255"], 255, ""),
        ("killed", ["TERM"], 143, ""),
        ("killed", ["KILL"], 137, ""),
        ("missing", [], 127, "no such file"),
        ("no-interpreter", [], 127, "its interpreter /no/such/interpreter is missing"),
        ("not-executable", [], 126, "may not be executed, run chmod +x on it"),
        ("not-a-program", [], 126, "not a program, a script needs a first line such as #!/bin/sh"),
    ],
)
def test_an_end_has_the_code_a_shell_would_have(
    runner: RunnerProcess, script: str, args: list[str], code: int, reason: str
) -> None:
    job = runner.run(script, *args)

    path = runner.folder / f"{script}.sh"
    message = f"{path}: {reason}\n" if reason else ""
    assert (job["status"], job["code"]) == ("failed" if code else "succeeded", code)
    assert (job["stdoutPreview"], job["stderrPreview"]) == ("", message)
    assert (job["stderrSize"], runner.log(job["jobId"], "stderr")) == (len(message), message)


def test_two_hundred_jobs_leave_no_zombie_and_no_open_file(runner: RunnerProcess) -> None:
    process = psutil.Process(runner.pid)
    runner.run("exits", "0")
    before = process.num_fds()

    for _ in range(60):
        for script, arg in [("exits", "0"), ("killed", "TERM"), ("missing", "")]:
            runner.run(script, arg)
    for _ in range(20):
        runner.cancel(runner.submit("family"))

    wait_until(lambda: process.children(recursive=True) == [])
    wait_until(lambda: process.num_fds() == before)
