"""What a runner inherits from whoever starts it: it does not trust it, and scripts get it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local_runner.processes.carriers import JOB_VARIABLE
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.served import serving
from tests.support.processes import AS_FIRST_PROCESS, needs_namespace, processes_of

SCRIPTS = {
    "exits": '#!/bin/sh\nexit "$1"\n',
    "killed": '#!/bin/sh\nkill -"$1" $$\n',
    # Not by a shell, which would change some of them.
    "signals": "#!/usr/bin/env -S grep -hE ^Sig(Blk|Ign) /proc/self/status\n",
    "limit": "#!/bin/sh\nulimit -Sn\n",
    "hello": "#!/bin/sh\necho hello\necho error >&2\ncat\n",
    "files": f"#!{sys.executable}\nimport os\nprint(*sorted(os.listdir('/proc/self/fd')))\n",
    "waits": "#!/bin/sh\necho ready\nsleep 300\n",
    "says": '#!/bin/sh\nprintf \'%s\' "$@" "$WORD"\n',
    "leaves-orphans": "#!/bin/sh\nfor n in 1 2 3; do (sleep 0.1 >/dev/null 2>&1 &); done\n",
}
GIVEN_LIMIT = 321

needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux shows in /proc what a process has"
)


class Inheriting(RunnerProcess):
    """A runner started by a process that does something before."""

    def __init__(self, folder: Path, before: str) -> None:
        super().__init__(folder, SCRIPTS, runner={"killGraceSeconds": 0.5})
        self._before = before

    @property
    def command(self) -> list[str]:
        """The command that starts the process."""
        then = "import os, resource, signal, sys\n{}\nos.execv(sys.argv[1], sys.argv[1:])"
        return [sys.executable, "-c", then.format(self._before), *super().command]


def signals_of_a_script(runner: RunnerProcess, row: str) -> set[int]:
    """The signals in a row of the status of a script's process."""
    rows = dict(line.split(":\t") for line in runner.run("signals")["stdoutPreview"].splitlines())
    mask = int(rows[row], 16)
    return {number for number in range(1, 65) if mask & 1 << (number - 1)}


def test_exit_codes_are_right_where_sigchld_is_ignored_and_scripts_ignore_it_too(
    tmp_path: Path,
) -> None:
    before = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    with Inheriting(tmp_path, before) as runner:
        ends = [runner.run(*words) for words in (("exits", "7"), ("killed", "9"), ("exits", "0"))]
        ignored = signals_of_a_script(runner, "SigIgn")

    assert [(job["status"], job["code"]) for job in ends] == [
        ("failed", 7), ("failed", 137), ("succeeded", 0)
    ]  # fmt: skip
    assert signal.SIGCHLD in ignored


@needs_proc
def test_a_blocked_sigterm_stops_the_runner_all_the_same_and_is_blocked_in_scripts(
    tmp_path: Path,
) -> None:
    before = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])"
    with Inheriting(tmp_path, before) as runner:
        blocked = signals_of_a_script(runner, "SigBlk")
        job = runner.run("exits", "3")
        assert runner.stop() == 0

    assert blocked == {signal.SIGTERM, signal.SIGCHLD}
    assert job["code"] == 3


@needs_proc
def test_scripts_start_with_what_a_process_starts_with(tmp_path: Path) -> None:
    with Inheriting(tmp_path, "") as runner:
        assert signals_of_a_script(runner, "SigBlk") == set()
        assert not {signal.SIGCHLD, signal.SIGPIPE} & signals_of_a_script(runner, "SigIgn")
        assert runner.run("files")["stdoutPreview"] == "0 1 2 3\n"  # 3 is that of the folder


def test_scripts_get_the_limit_of_open_files_that_the_runner_was_given(tmp_path: Path) -> None:
    hard = "resource.getrlimit(resource.RLIMIT_NOFILE)[1]"
    before = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({GIVEN_LIMIT}, {hard}))"
    with Inheriting(tmp_path, before) as runner:
        assert runner.run("limit")["stdoutPreview"] == f"{GIVEN_LIMIT}\n"
        if hasattr(psutil.Process, "rlimit"):
            soft, most = psutil.Process(runner.pid).rlimit(psutil.RLIMIT_NOFILE)
            assert soft == most > GIVEN_LIMIT


@pytest.mark.parametrize("closed", [[0], [0, 1], [1]])
def test_closed_files_of_the_runner_do_not_get_into_the_way_of_its_scripts(
    tmp_path: Path, closed: list[int]
) -> None:
    with Inheriting(tmp_path, f"for file in {closed}: os.close(file)") as runner:
        job = runner.run("hello")

    assert (job["status"], job["stdoutPreview"], job["stderrPreview"]) == (
        "succeeded", "hello\n", "error\n"
    )  # fmt: skip


def test_scripts_do_not_read_the_stdin_of_the_runner(tmp_path: Path) -> None:
    before = "os.dup2(os.open(os.path.dirname(os.__file__) + '/os.py', os.O_RDONLY), 0)"
    with Inheriting(tmp_path, before) as runner:
        assert runner.run("hello")["stdoutPreview"] == "hello\n"


@needs_proc
def test_a_file_that_the_runner_inherited_is_not_handed_on(tmp_path: Path) -> None:
    before = "os.set_inheritable(os.dup2(os.open('/dev/null', os.O_RDONLY), 77), True)"
    with Inheriting(tmp_path, before) as runner:
        assert runner.run("files")["stdoutPreview"] == "0 1 2 3\n"


def test_a_runner_that_a_job_of_its_own_history_started_does_not_end_itself(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        job_id = runner.submit("waits")
        runner.printed(job_id, "ready")
        runner.stop(signal.SIGKILL)
        left = processes_of(job_id)

        runner = RunnerProcess(tmp_path, SCRIPTS, environment={JOB_VARIABLE: job_id})
        with runner:
            assert left
            assert not any(process.is_running() for process in left)
            assert runner.job(job_id)["status"] == "failed"
            assert runner.run("exits", "4")["code"] == 4


def test_who_started_such_a_runner_is_spared_too() -> None:
    ends = "from local_runner.processes.orphans import end_processes_of as end\n"
    ends += "print(end(['job_of_another'], 0.1), flush=True)"
    starts = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {ends!r}])\nprint('on')"
    )
    environment = {**os.environ, JOB_VARIABLE: "job_of_another"}

    ended = subprocess.run(
        [sys.executable, "-c", starts], env=environment, capture_output=True, text=True, check=True
    )

    assert ended.stdout.split() == ["0", "on"]


def no_pidfd(_: int) -> int:
    """What an older system says, or a container that forbids it."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.mark.parametrize("has_pidfd", [True, False])
async def test_an_exit_that_something_else_has_waited_for_never_counts_as_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    def lose(pid: int, _: int) -> tuple[int, int]:
        with contextlib.suppress(ChildProcessError):
            assert waitpid(pid, 0)
        raise ChildProcessError

    waitpid = os.waitpid
    monkeypatch.setattr("local_runner.processes.local.os.waitpid", lose)
    if not has_pidfd:
        monkeypatch.setattr("local_runner.processes.local.os.pidfd_open", no_pidfd, raising=False)
    async with serving(tmp_path, {"exits": "#!/bin/sh\nexit 0\n"}) as runner:
        body = b'{"scriptId": "exits"}'
        head = b"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        caller = await runner.call(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        _, response = await caller.response()

    assert b'"status":"failed","code":-1' in response
    assert b"its exit code was lost" in response


def test_arguments_and_variables_are_utf_8_whatever_the_locale_of_the_runner(
    tmp_path: Path,
) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    word = "\u65e5\u5fd7"
    rules = {"says": {"env": {"WORD": word}}}
    with RunnerProcess(tmp_path, SCRIPTS, rules=rules, environment=locale) as runner:
        assert runner.run("says", word)["stdoutPreview"] == word * 2


@needs_proc
def test_children_of_the_shell_that_became_the_runner_leave_no_zombies(tmp_path: Path) -> None:
    before = "for seconds in 0, 3600:\n    os.fork() or os.execvp('sleep', ['sleep', str(seconds)])"
    with Inheriting(tmp_path, before) as runner:
        process = psutil.Process(runner.pid)
        (lives,) = process.children()
        lives.kill()
        wait_until(lambda: process.children() == [])
        assert runner.run("exits", "5")["code"] == 5


@needs_namespace
def test_the_first_process_of_a_container_leaves_no_zombies(tmp_path: Path) -> None:
    class First(RunnerProcess):
        @property
        def command(self) -> list[str]:
            return [*AS_FIRST_PROCESS, *super().command]

    with First(tmp_path, SCRIPTS) as runner:
        (first,) = psutil.Process(runner.pid).children()
        jobs = [runner.run("leaves-orphans") for _ in range(3)]
        assert [job["status"] for job in jobs] == ["succeeded"] * 3
        wait_until(lambda: first.children() == [])
        assert runner.run("exits", "5")["code"] == 5
        first.terminate()
        assert runner.wait() == 0
