"""The command line: what it prints, and what it says when it is not understood."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from local_runner.cli import main


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
        "callers      only this machine, without a token, no web pages\n"
        "at once      1 jobs, the others queue\n"
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
        "no web pages\n"
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
    said = f"warning: script long: {path}: cannot be looked at: File name too long\n"
    assert result.stdout.endswith(said)


@pytest.mark.parametrize("verb", ["start", "check"])
def test_a_missing_config_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = invoke(verb)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: There is no config.json. Write one, for instance:\n"
        "\n"
        '  {"scriptsFile": "./scripts.json"}\n'
        "\n"
        "and beside it a scripts.json that lists the scripts callers may run:\n"
        "\n"
        '  {"scripts": [{"id": "hello", "path": "./hello.sh", "mode": "sync"}]}\n'
        "\n"
        "A whole one is in the folder examples/ of script-runner-proxy; to try it:\n"
        "\n"
        "  local-runner start --config examples/config.json\n"
    )


def test_the_example_of_a_missing_config_is_a_valid_one(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    explained = invoke("start", f"--config={path}").stderr
    written = re.findall(r"^  ({.*})$", explained, re.MULTILINE)

    path.write_text(written[0])
    (tmp_path / "scripts.json").write_text(written[1])

    assert invoke("check", f"--config={path}").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (
            ["--help"],
            [
                "Run allow-listed scripts on this machine",
                "config.json",
                "SCRIPT_RUNNER_TOKEN",
                "check Check a configuration and print what would be served.",
                "start Serve the scripts of a configuration until Ctrl-C, SIGTERM or SIGHUP.",
            ],
        ),
        (
            ["start", "--help"],
            [
                "Usage: local-runner start [OPTIONS]",
                "[default: config.json]",
                "The address to listen on, instead of server.host.",
                "0 takes a free one.",
                "one JSON object a line. [default: text]",
            ],
        ),
        (["check", "--help"], ["Usage: local-runner check [OPTIONS]", "[default: config.json]"]),
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
