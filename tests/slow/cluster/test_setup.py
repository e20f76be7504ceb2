"""The set-up of docs/cluster.md, typed as it stands there, in a fresh folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.cluster_processes import NATS_SERVER, free_ports
from scripts.waiting import wait_until
from tests.docs.markdown import ROOT, section_of

SECTION = section_of(ROOT / "docs" / "cluster.md", "Set up")
HOST = "broker.example"
"""What the broker is called there; here it is on loopback."""


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Whether the document has a command, as it is typed here."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "local-runner"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m local_runner "$@"\n')
    program.chmod(0o755)
    (programs / "nats-server").symlink_to(NATS_SERVER)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def words(command: str) -> list[str]:
        assert command in SECTION.inline_code
        return [word.replace(HOST, "localhost") for word in shlex.split(command)]

    return words


def test_the_demo_shows_a_cluster_that_loses_an_agent_and_only_what_that_ran() -> None:
    demo = [sys.executable, "-m", "scripts.cluster_demo"]
    done = subprocess.run(demo, cwd=ROOT, capture_output=True, text=True, timeout=240)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\nOK: 8 finished in " in done.stdout
    end = done.stdout.partition("In the end")[2]
    statuses = re.findall(r"^  job_\S+ +(\w+) +(.+)$", end, re.MULTILINE)
    assert [where for where, status in statuses if status == "failed (-1)"] == ["red", "red"]
    assert [status for where, status in statuses if where != "red"] == ["succeeded (0)"] * 5
    assert re.findall(r"^  (\w+) +2 slots", end, re.MULTILINE) == ["blue", "green"]


def test_the_set_up_works_as_it_is_typed(tmp_path: Path, typed: Callable[[str], list[str]]) -> None:
    broker, front, agent = (tmp_path / name for name in ("broker", "front", "agent"))
    (port,) = free_ports(1)

    def here(text: str) -> str:
        return text.replace(f"{HOST}:4222", f"localhost:{port}")

    shutil.copytree(ROOT / "examples" / "cluster", broker)
    conf = broker / "nats.conf"
    conf.write_text(conf.read_text().replace("0.0.0.0:4222", f"127.0.0.1:{port}"))
    subprocess.run(typed(f"./make-credentials.sh {HOST}"), cwd=broker, check=True)
    for folder in (front, agent):
        subprocess.run(["local-runner", "init", str(folder)], check=True, capture_output=True)
        shutil.copy(broker / "credentials" / f"{folder.name}.creds", folder)
    (fragment,) = (code for code in SECTION.inline_code if code.startswith('"cluster":'))
    config = json.loads((front / "config.json").read_text())
    config |= {**json.loads(here(f"{{{fragment}}}")), "server": {"port": free_ports(1)[0]}}
    (front / "config.json").write_text(json.dumps(config))
    (block,) = SECTION.code_blocks
    (agent / "agent.json").write_text(here(block.text))

    started = []
    try:
        for folder, command in (
            (broker, "nats-server -c nats.conf"),
            (agent, "local-runner agent --config agent.json"),
            (front, "local-runner start"),
        ):
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(typed(command), cwd=folder, stdout=log, stderr=log)
            started.append(process)
        wait_until(lambda: "labels=gpu" in (front / "log").read_text(), 60)
        checked = subprocess.run(
            typed("local-runner check --agent"), cwd=agent, capture_output=True, text=True
        )
        assert "broker       lets us in\n" in checked.stdout
        url = f"http://127.0.0.1:{config['server']['port']}"
        ctl = [sys.executable, "-m", "script_runner.cli", "--url", url, "run", "hello", "Ada"]
        ran = subprocess.run(ctl, capture_output=True, text=True, timeout=60)
        assert ran.stdout == "Hello, Ada!\n"
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
