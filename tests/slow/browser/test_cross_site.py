"""A page in a real browser tries to run scripts on the machine of whoever visits it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slow.browser.attacker import Attacker, needs_chromium
from tests.support.runner_process import RunnerProcess
from tests.support.waiting import wait_until

pytestmark = needs_chromium

SCRIPTS = {"runs": "#!/bin/sh\necho ran\n", "sleeps": "#!/bin/sh\nexec sleep 300\n"}
CANNOT_BE_READ = {
    "fetch_json": "TypeError",
    "fetch_text": "TypeError",
    "fetch_no_cors": "opaque",
    "fetch_no_type": "opaque",
    "beacon": "sent",
    "form_urlencoded": "submitted",
    "form_multipart": "submitted",
    "form_text": "submitted",
    "read_job": "TypeError",
    "cancel_job": "opaque",
    "image": "error",
    "web_socket": "error",
}
"""How tries end for a page of another origin; how the tag `script` ends is for the browser."""


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    with contextlib.closing(Attacker()) as listening:
        yield listening


@contextlib.contextmanager
def victim(
    folder: Path, attacker: Attacker, **server: object
) -> Iterator[tuple[RunnerProcess, str]]:
    """A runner, and a job that runs on it."""
    settings = {"maxConcurrent": 2, "killGraceSeconds": 0.2}
    with RunnerProcess(folder, SCRIPTS, server=server, runner=settings) as runner:
        attacker.runner_url = runner.url
        yield runner, runner.submit("sleeps")


def requests(runner: RunnerProcess, method: str, path: str = "/run") -> list[int]:
    """The statuses that requests were answered with, according to the runner's log."""
    lines = [event for event in runner.events if event["event"] == "request"]
    return [line["status"] for line in lines if (line["method"], line["path"]) == (method, path)]


def assert_nothing_ran(runner: RunnerProcess, job_id: str) -> None:
    """Only the job that is there by right is there, untouched."""
    assert runner.job(job_id)["status"] == "running"
    logs = {path.name for path in (runner.folder / "logs").iterdir()}
    assert logs == {f"{job_id}.{stream}.log" for stream in ("stdout", "stderr")}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.example"])
def test_a_page_of_another_origin_runs_cancels_and_reads_nothing(
    tmp_path: Path, attacker: Attacker, name: str
) -> None:
    with victim(tmp_path, attacker) as (runner, job_id):
        results = attacker.visit(tmp_path, f"http://{name}:{attacker.port}", runner.url, job_id)

        assert {**results, **CANNOT_BE_READ} == results
        # The first is the job that is there; fetch_json got no further than its preflight.
        expected = [202, *[403] * 7]
        wait_until(lambda: len(requests(runner, "POST")) >= len(expected))
        assert requests(runner, "POST") == expected
        assert requests(runner, "OPTIONS") == [403]
        assert requests(runner, "POST", f"/jobs/{job_id}/cancel") == [403]
        assert_nothing_ran(runner, job_id)


def test_a_name_that_is_rebound_to_this_machine_reaches_nothing(
    tmp_path: Path, attacker: Attacker
) -> None:
    with victim(tmp_path, attacker) as (runner, job_id):
        origin = f"http://evil.example:{attacker.port}"
        results = attacker.visit(tmp_path, origin, "", job_id)

        # It is its own origin to the browser, so it may read the answers.
        for name in ("fetch_json", "fetch_text", "read_job", "cancel_job"):
            status, _, body = results[name].partition(" ")
            assert (status, json.loads(body)["error"]["code"]) == ("403", "FORBIDDEN_HOST"), name
        expected = [202, *[403] * 8]
        wait_until(lambda: len(requests(runner, "POST")) >= len(expected))
        assert requests(runner, "POST") == expected
        assert set(requests(runner, "GET", f"/jobs/{job_id}")) == {403}
        assert (results["image"], results["web_socket"]) == ("error", "error")
        assert_nothing_ran(runner, job_id)


def test_the_runner_by_a_foreign_name_and_its_own_port_reaches_nothing(
    tmp_path: Path, attacker: Attacker
) -> None:
    with victim(tmp_path, attacker) as (runner, job_id):
        target = runner.url.replace("127.0.0.1", "evil.example")
        origin = f"http://evil.example:{attacker.port}"
        results = attacker.visit(tmp_path, origin, target, job_id)

        assert {**results, **CANNOT_BE_READ} == results
        assert set(requests(runner, "POST")[1:]) == {403}
        assert_nothing_ran(runner, job_id)


def test_a_page_of_a_configured_origin_may_run_and_read_but_only_with_json(
    tmp_path: Path, attacker: Attacker
) -> None:
    origin = f"http://127.0.0.1:{attacker.port}"
    with victim(tmp_path, attacker, allowedOrigins=[origin]) as (runner, job_id):
        results = attacker.visit(tmp_path, origin, runner.url, job_id)

        status, _, body = results["fetch_json"].partition(" ")
        assert (status, json.loads(body)["stdoutPreview"]) == ("200", "ran\n")
        status, _, body = results["read_job"].partition(" ")
        assert (status, json.loads(body)["status"]) == ("200", "running")
        expected = [200, 202, *[415] * 7]
        wait_until(lambda: len(requests(runner, "POST")) >= len(expected))
        assert sorted(requests(runner, "POST")) == expected
