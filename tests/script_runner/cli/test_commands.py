"""What each command prints and ends with, in pipes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from generated_client.models import Job
from script_runner.cli.commands import main
from script_runner.cli.exit_codes import exit_code_of
from scripts.runner_process import RunnerProcess
from tests.script_runner.cli.scriptctl import (
    COMMAND,
    NOBODY,
    environment,
    let_go,
    scriptctl,
    started,
)
from tests.script_runner.documented import documented
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_response

SOME_COMMANDS = [
    ("run", "args"),
    ("wait", "job_1"),
    ("logs", "job_1"),
    ("jobs",),
]


def test_run_writes_each_stream_to_its_own_and_ends_as_the_script_does(url: str) -> None:
    result = scriptctl(url, "run", "both")
    assert (result.stdout, result.stderr) == ("out 日\ufffd".encode(), b"err\n")
    assert result.returncode == 3


@pytest.mark.parametrize("between", [[], ["--"]])
def test_options_of_the_script_are_its_own(url: str, between: list[str]) -> None:
    args = ["-x", "--json", "--url=y", "a b", "", "--", "-h"]
    result = scriptctl(url, "run", "args", *between, *args)
    assert result.stdout.decode() == "".join(f"[{arg}]" for arg in args)


def test_output_comes_while_the_script_runs(url: str, tmp_path: Path) -> None:
    with started(url, "run", "live", str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        let_go(tmp_path)
        assert process.stdout.read() == b"last\n"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job_and_shows_the_rest(url: str, number: signal.Signals) -> None:
    with started(url, "run", "polite") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        assert process.stdout.read() == b"bye\n"
        assert process.wait() == 128 + number
    assert scriptctl(url, "jobs", "-n1").stdout.split(b"\t")[1] == b"canceled"


def test_a_second_signal_leaves_the_job_and_names_it(runner: RunnerProcess, tmp_path: Path) -> None:
    with started(runner.url, "run", "stubborn", str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert b"cancelling" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
        assert process.wait() == 130
    found = re.search(r"left (job_\w+)", said)
    assert found, said
    assert runner.job(found[1])["status"] == "running"
    let_go(tmp_path)


def test_a_signal_that_is_ignored_stays_ignored(url: str, tmp_path: Path) -> None:
    """As a shell has it for what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(url, "run", "live", str(tmp_path))
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        process.send_signal(signal.SIGINT)
        let_go(tmp_path)
        assert process.stdout.read() == b"last\n"
    assert process.returncode == 0


def test_a_time_limit_of_the_script_ends_with_124(url: str) -> None:
    result = scriptctl(url, "run", "limited")
    assert (result.returncode, result.stdout) == (124, b"")
    assert b"time limit" in result.stderr


def test_what_neither_the_output_nor_the_exit_code_says_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scripts, limit = {"say": "#!/bin/sh\necho hello\n"}, {"maxLogBytesPerStream": 4}
    with RunnerProcess(tmp_path, scripts, runner=limit) as runner:
        assert main(["--url", runner.url, "run", "say"]) == 0
        cut, of_cut = capfd.readouterr()
        shutil.rmtree(tmp_path / "logs")
        (tmp_path / "logs").write_text("a file in the place of the folder")
        assert main(["--url", runner.url, "run", "say"]) == 125
        nothing, of_failure = capfd.readouterr()
    assert (cut, nothing) == ("hell", "")
    said = r"scriptctl: job_\w+: the runner has not kept all of stdout \(maxLogBytesPerStream\)\n"
    assert re.fullmatch(said, of_cut)
    assert re.fullmatch(r"scriptctl: job_\w+: the job could not be started: .+\n", of_failure)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        # Of the reference server, which cannot write to a full disk.
        ({"status": "timed_out", "stderrPreview": "\nENOSPC"}, "was ended by the time limit of"),
        ({"status": "failed", "stderrTruncated": True}, "failed without an exit code: it could"),
    ],
)
def test_what_looks_like_a_reason_does_not_hide_why_there_is_no_exit_code(
    job: dict[str, object], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = documented("getJob", "failed") | {"code": -1, "stdoutSize": 0, "stderrSize": 0} | job

    def respond(request: Request) -> Iterator[Step]:
        started = {"ok": True, "jobId": ended["jobId"], "status": "queued", "mode": "async"}
        is_poll = request.method == "GET"
        yield json_response(200, ended) if is_poll else json_response(202, started)

    with MisbehavingServer(respond) as server:
        main(["--url", server.url, "run", "say"])
    assert f"scriptctl: {ended['jobId']} {said}" in capfd.readouterr().err


def test_an_exit_code_that_a_shell_would_cut_is_255() -> None:
    job = Job.from_dict({**documented("getJob", "failed"), "code": 256})
    assert exit_code_of(job) == 255


def test_wait_ends_as_the_script_or_with_its_own_timeout(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    job_id = scriptctl(runner.url, "start", "live", str(tmp_path)).stdout.decode().strip()
    late = scriptctl(runner.url, "wait", job_id, "--timeout", "0.2")
    assert late.returncode == 124
    assert late.stderr.count(b"\n") == 1
    assert runner.job(job_id)["status"] == "running"
    let_go(tmp_path)
    assert scriptctl(runner.url, "wait", job_id).returncode == 0
    failed = scriptctl(runner.url, "wait", runner.submit("both"))
    assert (failed.returncode, failed.stdout, failed.stderr) == (3, b"", b"")


def test_cancel_tells_what_came_of_it(runner: RunnerProcess) -> None:
    job_id = runner.submit("polite")
    runner.printed(job_id, "begun")
    assert scriptctl(runner.url, "cancel", job_id).stdout.decode().startswith(job_id)
    waited = scriptctl(runner.url, "wait", job_id)
    assert (waited.returncode, waited.stdout) == (130, b"")
    assert (
        b"already ended: cancelled" in scriptctl(runner.url, "cancel", job_id).stdout
        or b"is cancelled" in scriptctl(runner.url, "cancel", job_id).stdout
    )


def test_logs_are_exact_whichever_part_is_asked_for(
    runner: RunnerProcess, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    job_id = str(runner.run("lines")["jobId"])
    lines = [f"{number} 日志\n" for number in range(1, 20_001)] + ["open"]
    for options, expected in (
        ([], lines),
        (["-n", "3"], lines[-3:]),
        (["-n", "15000"], lines[-15000:]),
        (["-n", "0"], []),
        (["-n", "99999"], lines),
        (["--offset", "7", "--limit", "2"], lines[7:9]),
        (["--offset", "19999", "--follow"], lines[19999:]),
        (["--offset", "30000"], []),
        (["--limit", "1"], lines[:1]),
        (["--stream", "stderr"], []),
    ):
        # In this process: a start takes longer than all the rest.
        assert main(["--url", runner.url, "logs", job_id, *options]) == 0
        out, err = capfdbinary.readouterr()
        assert (out.decode(), err) == ("".join(expected), b""), options
    job_id = str(runner.run("both")["jobId"])
    both = scriptctl(runner.url, "logs", job_id)
    assert (both.stdout, both.stderr) == ("out 日\ufffd".encode(), b"err\n")
    assert scriptctl(runner.url, "logs", "--stream=stderr", job_id).stdout == b"err\n"


def test_logs_of_a_running_job_end_unless_they_are_followed(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    job_id = runner.submit("live", str(tmp_path))
    runner.printed(job_id, "first\n")
    assert scriptctl(runner.url, "logs", job_id).stdout == b"first\n"
    with started(runner.url, "logs", "-f", "-n1", job_id) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        let_go(tmp_path)
        assert process.stdout.read() == b"last\n"
    assert process.returncode == 0


def test_a_reader_that_goes_away_is_no_error(url: str, tmp_path: Path) -> None:
    with started(url, "run", "live", str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        let_go(tmp_path)
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("command", SOME_COMMANDS, ids=" ".join)
def test_without_a_runner_there_is_one_line_and_125(command: tuple[str, ...]) -> None:
    result = scriptctl(NOBODY, *command)
    assert (result.returncode, result.stdout) == (125, b"")
    assert re.fullmatch(
        rb"scriptctl: [^\n]*no connection[^\n]*SCRIPT_RUNNER_URL[^\n]*\n", result.stderr
    )


@pytest.mark.parametrize("command", ["jobs", "scripts"])
def test_another_script_runner_has_no_lists(mock_url: str, command: str) -> None:
    result = scriptctl(mock_url, command)
    assert (result.returncode, result.stdout) == (125, b"")
    assert re.fullmatch(rb"scriptctl: [^\n]*as only local-runner does[^\n]*\n", result.stderr)


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("run", "nope"),
        ("bogus",),
        ("status", "nope"),
        ("logs", "-n1", "--limit=1", "x"),
        ("jobs", "--status=odd"),
        ("wait", "x", "--timeout=-1"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_ends_with_125_and_one_line(url: str, command: tuple[str, ...]) -> None:
    result = scriptctl(url, *command)
    assert (result.returncode, result.stdout) == (125, b"")
    assert re.fullmatch(rb"scriptctl: [^\n]+\n", result.stderr)


@pytest.mark.parametrize("command", [("run", "args", "x"), ("scripts",), ("--help",)], ids=" ".join)
def test_output_that_does_not_fit_on_a_disk_ends_with_125_and_one_line(
    url: str, command: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, *command],
            env=environment(url, {}),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert result.returncode == 125
    said = rb"scriptctl: cannot write the output: No space left on device\n"
    assert re.fullmatch(said, result.stderr)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("start", "helo"),
            r"POST /run at [^\n]*: script not found: helo\. [^\n]* `scriptctl scripts` lists .*",
        ),
        (
            ("jobs", "--before=nope"),
            r"GET /jobs\?[^\n]*: before: job not found: nope: begin again without before\.",
        ),
    ],
)
def test_a_refusal_says_what_to_do(url: str, command: tuple[str, ...], said: str) -> None:
    result = scriptctl(url, *command)
    assert re.fullmatch(rf"scriptctl: {said}\n", result.stderr.decode())


def test_json_is_what_the_runner_says(runner: RunnerProcess, tmp_path: Path) -> None:
    lines = [
        json.loads(line)
        for line in scriptctl(runner.url, "--json", "run", "both").stdout.splitlines()
    ]
    started, *output, ended = lines
    assert started == {"type": "started", "jobId": ended["job"]["jobId"]}
    texts = {"stdout": "", "stderr": ""}
    for line in output:
        assert line.keys() == {"type", "stream", "data"}
        texts[line["stream"]] += line["data"]
    assert texts == {"stdout": "out 日\ufffd", "stderr": "err\n"}
    job = runner.job(started["jobId"])
    assert ended == {"type": "job", "job": job}
    for command in ("status", "wait", "cancel"):
        assert json.loads(scriptctl(runner.url, command, job["jobId"], "--json").stdout) == job
    for command in ("jobs", "scripts"):
        asked = runner.http.get(f"/{command}").json()
        assert (
            json.loads(scriptctl(runner.url, command, "--json", *_limit(command)).stdout) == asked
        )
    let_go(tmp_path)
    begun = json.loads(scriptctl(runner.url, "start", "--json", "live", str(tmp_path)).stdout)
    assert runner.ended(begun["jobId"])["status"] == "succeeded"


def _limit(command: str) -> list[str]:
    return ["--limit=50"] if command == "jobs" else []


def test_lists_in_a_pipe_are_columns_and_harmless(runner: RunnerProcess) -> None:
    job = runner.run("args", "a b", "\x1b]0;evil\x07\t\u202e")
    row = scriptctl(runner.url, "jobs", "-n1").stdout.decode()
    fields = row.removesuffix("\n").split("\t")
    assert fields[:4] == [job["jobId"], "succeeded", "0", "args"]
    assert fields[6] == r"'a b' '\x1b]0;evil\x07\t\u202e'"
    ids = [
        line.split("\t")[0]
        for line in scriptctl(runner.url, "scripts").stdout.decode().splitlines()
    ]
    listed = runner.http.get("/scripts").json()["scripts"]
    assert ids == [script["id"].replace("\x1b", r"\x1b") for script in listed]


def test_the_token_is_sent_and_never_shown(tmp_path: Path) -> None:
    secret = "s3cret-t0ken"
    with RunnerProcess(
        tmp_path, {"hello": "#!/bin/sh\necho hello\n"}, environment={"SCRIPT_RUNNER_TOKEN": secret}
    ) as runner:
        host = runner.url.removeprefix("http://")
        right, wrong = f"http://any:{secret}@{host}", f"http://any:wrong-{secret}@{host}"
        assert scriptctl(right, "run", "hello").stdout == b"hello\n"
        for result in (
            scriptctl(wrong, "run", "hello"),
            scriptctl("", "--url", wrong, "jobs"),
            scriptctl(f"{right}/%zz?{secret}", "jobs"),
            scriptctl(right, "run", "nope"),
            scriptctl(right, "jobs", "--help"),
            scriptctl(right, "jobs", "--bogus"),
        ):
            assert secret.encode() not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("shell", "expected"),
    [("zsh", "plain\n--script=live\n_\n"), ("fish", "plain,--script=live\n")],
)
def test_an_option_is_completed_with_its_value(url: str, shell: str, expected: str) -> None:
    """As these shells ask; they may not be here."""
    words = "scriptctl jobs --script=liv"
    place = "2" if shell == "zsh" else "--script=liv"
    completing = {"_SCRIPTCTL_COMPLETE": f"{shell}_complete", "COMP_WORDS": words}
    result = scriptctl(url, COMP_CWORD=place, **completing)
    assert (result.returncode, result.stdout.decode()) == (0, expected)


def test_the_library_needs_neither_click_nor_rich_and_the_command_says_so(url: str) -> None:
    without = "import sys; sys.modules['click'] = sys.modules['rich'] = None; "
    for code, expected in (
        ("from script_runner import *", ""),
        (
            "from script_runner.cli.__main__ import run; run()",
            "install the extra cli of script-runner-proxy: pip install '.[cli]' in its folder",
        ),
    ):
        result = subprocess.run(
            [sys.executable, "-c", without + code],
            env=environment(url, {}),
            capture_output=True,
            text=True,
        )
        assert expected in result.stderr
        assert (result.returncode, result.stderr.count("\n")) == ((125, 1) if expected else (0, 0))
