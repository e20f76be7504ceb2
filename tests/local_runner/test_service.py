"""The files in `examples/service/`: what runs them can read them, and they start this program."""

from __future__ import annotations

import configparser
import json
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from local_runner.cli import main
from local_runner.config import RunnerConfig

FOLDER = Path(__file__).parents[2] / "examples" / "service"
UNIT = FOLDER / "local-runner.service"
AGENT_UNIT = FOLDER / "local-runner-agent.service"
PLIST = FOLDER / "script-runner-proxy.local-runner.plist"

GRACE_SECONDS = int(RunnerConfig.model_fields["kill_grace_seconds"].default)


def assert_starts_the_runner(command: Sequence[str], config: str = "config.json") -> None:
    """The command line is one that this version understands."""
    program, verb, *options = command
    assert Path(program).name == "local-runner"
    with main.commands[verb].make_context(verb, options) as context:
        assert Path(context.params["path"]).name == config


def service_of(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(unit)
    return parser["Service"]


def test_the_unit_starts_the_runner_and_lets_it_stop_in_order() -> None:
    service = service_of(UNIT)

    assert_starts_the_runner(shlex.split(service["ExecStart"]))
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert int(service["TimeoutStopSec"]) >= 2 * GRACE_SECONDS


def test_the_unit_of_an_agent_starts_it_and_lets_its_scripts_end() -> None:
    service = service_of(AGENT_UNIT)

    assert_starts_the_runner(shlex.split(service["ExecStart"]), "agent.json")
    assert (service["Type"], service["KillMode"]) == ("exec", "mixed")
    assert service["TimeoutStopSec"] == "1h"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("unit", [UNIT, AGENT_UNIT], ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit_without_a_warning(tmp_path: Path, unit: Path) -> None:
    (tmp_path / "script-runner").mkdir()
    program = tmp_path / ".local" / "bin" / "local-runner"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}

    verified = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_plist_starts_the_runner_and_lets_it_stop_in_order() -> None:
    agent = plistlib.loads(PLIST.read_bytes())

    assert_starts_the_runner(agent["ProgramArguments"])
    assert agent["Label"] == PLIST.stem
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ExitTimeOut"] >= 2 * GRACE_SECONDS


def test_in_the_container_the_runner_is_the_process_that_gets_the_signals() -> None:
    text = (FOLDER / "Dockerfile").read_text("utf-8")

    # As a JSON array: in any other form a shell would be process 1.
    (entrypoint,) = re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    assert_starts_the_runner(json.loads(entrypoint))
