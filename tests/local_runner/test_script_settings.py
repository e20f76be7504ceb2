"""What a script can be given of its own: a folder, variables, a launcher, a limit of its jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from local_runner.cli import main
from local_runner.config import ConfigError, load
from scripts.runner_process import RunnerProcess

SHOWS = '#!/bin/sh\npwd\necho "$NAME|$HOME|$PYTHONUNBUFFERED|$SCRIPT_RUNNER_JOB_ID"\n'
SCRIPTS = {
    "shows": SHOWS,
    "plain": SHOWS,
    "buffered": SHOWS,
    "lost": SHOWS,
    "wrapped": '#!/bin/sh\necho "$WRAPPED $*"\n',
    "by-path": '#!/bin/sh\necho "args $*"\n',
    "no-launcher": SHOWS,
    "python": f"#!{sys.executable}\nimport time\nprint('first')\ntime.sleep(300)\n",
    "waits": '#!/bin/sh\necho ready\nwhile [ ! -e "$1" ]; do sleep 0.02; done\n',
    "other": "#!/bin/sh\necho other\n",
}
RULES: dict[str, dict[str, Any]] = {
    "shows": {"workingDir": "./folder", "env": {"NAME": "Ä b=c", "SCRIPT_RUNNER_JOB_ID": "mine"}},
    "buffered": {"env": {"PYTHONUNBUFFERED": ""}},
    "lost": {"workingDir": "./nowhere"},
    "wrapped": {"launcher": ["env", "WRAPPED=yes"]},
    "by-path": {"launcher": ["./wrapper", "first"]},
    "no-launcher": {"launcher": ["no-such-program"], "workingDir": "./folder"},
    "waits": {"maxConcurrent": 1},
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "folder").mkdir()
    # A launcher is looked for in PATH, not in there.
    (folder / "folder" / "no-such-program").write_text("#!/bin/sh\n")
    (folder / "folder" / "no-such-program").chmod(0o755)
    (folder / "wrapper").write_text('#!/bin/sh\necho "wrapped $1"\nshift\nexec "$@"\n')
    (folder / "wrapper").chmod(0o755)
    environment = {"HOME": "/home/of/the/runner"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        with RunnerProcess(folder, SCRIPTS, rules=RULES, environment=environment) as started:
            yield started


def test_a_script_has_its_folder_and_its_variables(runner: RunnerProcess) -> None:
    job = runner.run("shows")

    shown = f"{runner.folder}/folder\nÄ b=c|/home/of/the/runner|1|{job['jobId']}\n"
    assert job["stdoutPreview"] == shown


def test_a_script_without_has_those_of_the_runner(runner: RunnerProcess) -> None:
    job = runner.run("plain")

    assert job["stdoutPreview"] == f"{Path.cwd()}\n|/home/of/the/runner|1|{job['jobId']}\n"


def test_what_python_prints_comes_at_once_unless_the_environment_says_otherwise(
    runner: RunnerProcess,
) -> None:
    job_id = runner.submit("python")
    runner.printed(job_id, "first")
    runner.cancel(job_id)

    assert "|/home/of/the/runner||job_" in runner.run("buffered")["stdoutPreview"]


def test_a_folder_that_is_missing_fails_the_job_with_the_reason(runner: RunnerProcess) -> None:
    job = runner.run("lost")

    folder = runner.folder / "nowhere"
    assert (job["status"], job["code"]) == ("failed", 126)
    assert job["stderrPreview"] == (
        f"workingDir {folder} cannot be entered: No such file or directory\n"
    )
    command = ["check", f"--config={runner.folder / 'config.json'}"]
    checked = CliRunner().invoke(main, command).stdout
    assert f"{runner.folder}/lost.sh: its workingDir {folder} is not a folder\n" in checked
    assert "its launcher no-such-program is not a program\n" in checked


@pytest.mark.parametrize(
    ("script", "printed"), [("wrapped", "yes a b\n"), ("by-path", "wrapped first\nargs a b\n")]
)
def test_a_launcher_starts_the_script(runner: RunnerProcess, script: str, printed: str) -> None:
    assert runner.run(script, "a", "b")["stdoutPreview"] == printed


def test_a_launcher_that_is_missing_fails_the_job_with_the_reason(runner: RunnerProcess) -> None:
    job = runner.run("no-launcher")

    assert (job["status"], job["code"]) == ("failed", 127)
    assert job["stderrPreview"] == (
        "launcher no-such-program cannot be started: No such file or directory\n"
    )


def test_a_script_at_its_limit_waits_and_holds_no_other_up(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    first, second, third = (runner.submit("waits", gate) for _ in range(3))
    runner.printed(first, "ready")

    assert runner.run("other")["status"] == "succeeded"
    assert [runner.job(job_id)["status"] for job_id in (second, third)] == ["queued"] * 2
    listed = {script["id"]: script for script in runner.http.get("/scripts").json()["scripts"]}
    assert [listed["waits"][key] for key in ("maxConcurrent", "running", "queued")] == [1, 1, 2]

    Path(gate).touch()
    ended = [runner.ended(job_id) for job_id in (first, second, third)]
    assert [job["status"] for job in ended] == ["succeeded"] * 3
    assert sorted(job["startedAt"] for job in ended) == [job["startedAt"] for job in ended]


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": {"A": 1}}, {"env": {"A=B": "c"}}, {"env": {"": "c"}}, {"env": {"A": "\0"}},
        {"env": ["A"]}, {"launcher": "nice"}, {"launcher": [""]}, {"maxConcurrent": -1},
        {"workingDir": 1}, {"description": 1},
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_at_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    script = {"id": "a", "path": "./a", **wrong}
    (tmp_path / "config.json").write_text(json.dumps({"scripts": [script]}))

    with pytest.raises(ConfigError, match=f"script 'a': {next(iter(wrong))}"):
        load(tmp_path / "config.json")
