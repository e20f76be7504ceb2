"""The scripts are read again when their file has changed; jobs go on as they were accepted."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from scripts.runner_process import RunnerProcess

SCRIPTS = {
    "hello": '#!/bin/sh\necho "hello $WORD"\n',
    "waits": '#!/bin/sh\necho ready\nwhile [ ! -e "$1" ]; do sleep 0.02; done\n',
}


def listing(*ids: str, **more: Any) -> dict[str, Any]:
    """The content of a scripts.json."""
    return {"scripts": [{"id": name, "path": f"./{name}.sh", **more} for name in ids]}


def refusal(runner: RunnerProcess, script_id: str) -> str:
    """What is said to a run that is refused."""
    response = runner.http.post("/run", json={"scriptId": script_id})
    assert response.json()["error"]["code"] == "SCRIPT_NOT_FOUND"
    return str(response.json()["error"]["message"])


def ids(runner: RunnerProcess) -> list[str]:
    """The scripts that may run."""
    return [script["id"] for script in runner.http.get("/scripts").json()["scripts"]]


def test_a_file_that_changes_again_and_again_holds_at_once(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        for word in "abcdefghijklmnopqrst":  # of one length, often within one tick of a clock
            runner.write("scripts.json", listing("hello", description=word))
            (script,) = runner.http.get("/scripts").json()["scripts"]
            assert script["description"] == word
        runner.write("scripts.json", listing("waits"))
        assert ids(runner) == ["waits"]
        assert refusal(runner, "hello") == "script not found: hello"


def test_another_file_in_its_place_holds_at_once(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        runner.write("new.json", listing("hello", env={"WORD": "you"}))
        (tmp_path / "new.json").rename(tmp_path / "scripts.json")

        assert ids(runner) == ["hello"]
        assert runner.run("hello")["stdoutPreview"] == "hello you\n"


def test_scripts_in_config_json_are_read_again_and_nothing_else_of_it(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, SCRIPTS)
    config = {"server": {"port": 0}, **listing("hello")}
    runner.write("config.json", config)
    with runner:
        url = runner.url
        runner.write("config.json", {**config, **listing("waits"), "server": {"port": 1}})

        assert (ids(runner), runner.url) == (["waits"], url)


@pytest.mark.parametrize("content", ["{", '{"scripts": [{"id": "hello"}]}', None])
def test_an_invalid_file_changes_nothing_and_is_said(tmp_path: Path, content: str | None) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        if content is None:
            (tmp_path / "scripts.json").unlink()
        else:
            (tmp_path / "scripts.json").write_text(content)

        assert [runner.run("hello")["status"] for _ in range(3)] == ["succeeded"] * 3
        said = refusal(runner, "new")
        runner.write("scripts.json", listing("hello", "waits", "new"))
        assert ids(runner) == ["hello", "waits", "new"]

    complaints = [event for event in runner.events if "is invalid" in event.get("message", "")]
    assert said.startswith("script not found: new; the scripts are those of before, ")
    assert str(tmp_path / "scripts.json") in said
    assert len(complaints) == 1


def test_a_job_runs_as_the_configuration_was_when_it_was_accepted(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1}) as runner:
        runner.write("scripts.json", listing("hello", "waits", env={"WORD": "before"}))
        running = runner.submit("waits", str(gate))
        queued = runner.submit("hello")
        runner.write("scripts.json", listing("hello", env={"WORD": "after"}))
        later = runner.submit("hello")
        gate.touch()

        assert runner.ended(running)["status"] == "succeeded"
        assert runner.ended(queued)["stdoutPreview"] == "hello before\n"
        assert runner.ended(later)["stdoutPreview"] == "hello after\n"


def test_a_job_that_waits_across_a_restart_keeps_all_but_its_variables(tmp_path: Path) -> None:
    show = {"hello": '#!/bin/sh\necho "$(basename "$PWD") $WORD"\n', "waits": SCRIPTS["waits"]}
    for name in ("then", "now"):
        (tmp_path / name).mkdir()
    with RunnerProcess(tmp_path, show, runner={"maxConcurrent": 1}) as runner:
        then = listing("hello", "waits", workingDir="./then", env={"WORD": "secret"})
        runner.write("scripts.json", then)
        runner.submit("waits", str(tmp_path / "never"))
        queued = runner.submit("hello")
        runner.stop(signal.SIGKILL)
        assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.glob("*.sqlite3*"))
        now = listing("hello", "waits", workingDir="./now", env={"WORD": "new"}, timeoutSec=9)
        runner.write("scripts.json", now)
        runner.start()

        assert runner.ended(queued)["stdoutPreview"] == "then new\n"
        assert runner.run("hello")["stdoutPreview"] == "now new\n"


def test_the_log_says_that_a_job_was_started(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        job_id = runner.run("hello")["jobId"]

    events = [event for event in runner.events if event.get("job_id") == job_id]
    started = next(event for event in events if event["event"] == "job_start")
    assert (started["script_id"], json.dumps(started).count("hello")) == ("hello", 1)


def test_a_higher_limit_of_a_script_lets_none_of_its_jobs_overtake_those_that_wait(
    tmp_path: Path,
) -> None:
    gate = str(tmp_path / "gate")
    with RunnerProcess(tmp_path, SCRIPTS, rules={"waits": {"maxConcurrent": 1}}) as runner:
        jobs = [runner.submit("waits", gate) for _ in range(2)]
        runner.write("scripts.json", listing("waits", maxConcurrent=3))
        jobs.append(runner.submit("waits", gate))
        assert [runner.job(job_id)["status"] for job_id in jobs] == ["running", "queued", "queued"]

        (tmp_path / "gate").touch()
        ended = [runner.ended(job_id) for job_id in jobs]
        assert [job["status"] for job in ended] == ["succeeded"] * 3
        assert sorted(job["startedAt"] for job in ended) == [job["startedAt"] for job in ended]
