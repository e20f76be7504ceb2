"""The command line: what it prints, and what it says when it is not understood."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from local_runner.cli import main
from scripts.runner_process import RunnerProcess


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRIPT_RUNNER_TOKEN", raising=False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="local-runner")


def test_check_prints_what_would_be_served(config: Path) -> None:
    folder = config.parent

    result = invoke("check", f"--config={config}")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"{config} is valid.\n"
        "\n"
        "listens on   127.0.0.1:0\n"
        "callers      only this machine, without a token, no web pages but its own\n"
        "at once      1 job, the others queue\n"
        f"history      {folder}/jobs.sqlite3 (the last 10000 jobs)\n"
        f"logs         {folder}/logs (at most 1048576 bytes of a stream)\n"
        "\n"
        f"  hello  sync   30 s           {folder}/hello.sh\n"
        f"  gone   async  no time limit  {folder}/gone.sh\n"
        "\n"
        f"warning: script gone: {folder}/gone.sh: no such file\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "hello.sh"]


def test_check_tells_who_may_call(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads(config.read_text())
    content["server"] = {"host": "0.0.0.0", "allowedHosts": ["box.local", "10.0.0.9"]}
    config.write_text(json.dumps(content))
    monkeypatch.setenv("SCRIPT_RUNNER_TOKEN", "secret")

    result = invoke("check", f"--config={config}")

    assert "listens on   0.0.0.0:3000\n" in result.stdout
    assert (
        "callers      other machines too, with the token, by the names box.local, 10.0.0.9 too, "
        "no web pages but its own\n"
    ) in result.stdout
    assert "secret" not in result.output


def test_check_takes_host_and_port_of_the_command_line(config: Path) -> None:
    result = invoke("check", f"--config={config}", "--host=127.0.0.2", "--port=4444")

    assert "listens on   127.0.0.2:4444\n" in result.stdout


def test_check_refuses_what_start_would_refuse(config: Path) -> None:
    result = invoke("check", f"--config={config}", "--host=0.0.0.0")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: 0.0.0.0 can be reached from other machines")
    assert result.stderr.count("\n") == 1


def test_check_warns_of_a_script_that_cannot_be_looked_at(config: Path) -> None:
    path = "/" + "x" * 300
    config.write_text(json.dumps({"scripts": [{"id": "long", "path": path}]}))

    result = invoke("check", f"--config={config}")

    assert (result.exit_code, result.stderr) == (0, "")
    said = f"warning: script long: {path}: cannot be checked: File name too long\n"
    assert result.stdout.endswith(said)


@pytest.mark.parametrize("verb", ["start", "check"])
def test_a_missing_config_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = invoke(verb)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: There is no config.json. Write one, with a script to begin with:\n"
        "\n"
        "  local-runner init\n"
        "\n"
        "or say where yours is, with --config.\n"
    )


@pytest.mark.parametrize("command", [["agent"], ["check", "--agent"]])
def test_a_missing_configuration_of_an_agent_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    pytest.importorskip("nats", reason="agents need the extra cluster")
    monkeypatch.chdir(tmp_path)

    result = invoke(*command)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: There is no agent.json. Write one, such as\n")
    assert json.loads(re.findall(r"\{.*\}", result.stderr, re.DOTALL)[0])["slots"] == 4


def test_init_writes_a_configuration_that_can_be_served_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = invoke("init")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Wrote config.json, scripts.json, scripts/hello.sh.\n")
    assert "\n  local-runner start\n" in result.stdout
    assert "warning" not in invoke("check").stdout
    with RunnerProcess(tmp_path, options=["--port=0"]) as runner:
        assert runner.run("hello", "Ada")["stdoutPreview"] == "Hello, Ada!\n"


def test_init_into_a_folder_says_how_to_start_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = invoke("init", "my runner/here")

    (start,) = re.findall(r"^  local-runner (start .*)$", result.stdout, re.MULTILINE)
    assert shlex.split(start) == ["start", "--config", "my runner/here/config.json"]
    assert invoke("check", *shlex.split(start)[1:]).exit_code == 0


@pytest.mark.parametrize("name", ["config.json", "scripts.json", "scripts/hello.sh"])
def test_init_overwrites_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))

    result = invoke("init", str(tmp_path))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {tmp_path / name}: is there already: name another folder; nothing was written\n"
    )
    assert (sorted(tmp_path.rglob("*")), (tmp_path / name).read_text()) == (before, "mine")


def test_init_into_what_is_no_folder_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = invoke("init", str(tmp_path / "file" / "folder"))

    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (
            ["--help"],
            [
                "Run allow-listed scripts on this machine",
                "config.json",
                "SCRIPT_RUNNER_TOKEN",
                "init Write a configuration and a first script into FOLDER.",
                "check Check a configuration and print what would be served.",
                "start Serve the scripts of a configuration.",
            ],
        ),
        (
            ["start", "--help"],
            [
                "Usage: local-runner start [OPTIONS]",
                "It serves until Ctrl-C, SIGTERM or SIGHUP, which end the scripts;",
                "[default: config.json]",
                "The address to listen on, instead of server.host.",
                "0 takes a free one.",
                "one JSON object a line. [default: text]",
            ],
        ),
        (
            ["check", "--help"],
            [
                "Usage: local-runner check [OPTIONS]",
                "[default: config.json, with --agent agent.json]",
            ],
        ),
    ],
)
def test_help_can_be_read(arguments: list[str], phrases: list[str]) -> None:
    result = invoke(*arguments)

    shown = re.sub(r"\s+", " ", result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [phrase for phrase in phrases if phrase not in shown] == []
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    "arguments", [["serve"], ["start", "--port=65536"], ["start", "--log-format=xml"], []]
)
def test_a_command_that_makes_no_sense_ends_with_2_and_the_usage(arguments: list[str]) -> None:
    result = invoke(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: local-runner ")
