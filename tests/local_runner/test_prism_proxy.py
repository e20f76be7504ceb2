"""The local runner against its description: Prism, as a proxy in front of it, finds no fault."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.mock import prism
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.talk import TAP, Tap, id_of_the_job_after
from tests.support.prism_client import PrismError, refuse_prism_error

MIB = 1024 * 1024
SCRIPTS = {
    "tap": TAP,
    "print": "#!/bin/sh\nprintf '%s\\n' \"$@\"\n",
    "fail": "#!/bin/sh\necho out\necho bad >&2\nexit 3\n",
    "gone": "",
    "not-utf-8": "#!/bin/sh\nprintf '\\377\\346\\227'\n",
    "too-slow": "#!/bin/sh\nexec sleep 60\n",
    "count": "#!/bin/sh\nseq 1 1000\n",
}


class Proxied:
    """A runner, and a client that calls it through Prism; it raises where Prism objects."""

    def __init__(self, runner: RunnerProcess, url: str) -> None:
        self.runner = runner
        self.http = httpx.Client(
            base_url=url,
            trust_env=False,
            timeout=20,
            event_hooks={"response": [refuse_prism_error]},
        )

    def run(self, script_id: str, *args: str, mode: str = "sync") -> httpx.Response:
        """Run a script."""
        body = {"scriptId": script_id, "args": args, "mode": mode}
        return self.http.post("/run", json=body)

    def submit(self, script_id: str, *args: str) -> str:
        """Run a script without waiting for its end; returns the job id."""
        response = self.run(script_id, *args, mode="async")
        assert response.status_code == 202, response.text
        return str(response.json()["jobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        return dict(self.http.get(f"/jobs/{job_id}").raise_for_status().json())

    def ended(self, job_id: str) -> dict[str, Any]:
        """A job, once it has ended."""
        wait_until(lambda: self.job(job_id)["endedAt"])
        return self.job(job_id)


def proxied(folder: Path, token: str = "") -> Iterator[Proxied]:
    prepared = RunnerProcess(
        folder,
        SCRIPTS,
        runner={"maxConcurrent": 1, "maxLogBytesPerStream": 100, "killGraceSeconds": 0.2},
        rules={
            "too-slow": {"timeoutSec": 1},
            "print": {"args": {"maxItems": 2, "itemMaxLength": 5, "itemPattern": "^[^!]*$"}},
        },
        environment={"SCRIPT_RUNNER_TOKEN": token},
    )
    (folder / "gone.sh").unlink()
    with prepared as runner, prism(["proxy", runner.url]) as url:
        proxy = Proxied(runner, url)
        with proxy.http:
            yield proxy


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    yield from proxied(tmp_path_factory.mktemp("proxied"))


@pytest.mark.parametrize(
    ("script", "args", "status"),
    [
        ("print", ["日志"], "succeeded"),
        ("print", [], "succeeded"),
        ("fail", [], "failed"),
        ("gone", [], "failed"),
        ("not-utf-8", [], "succeeded"),
        ("too-slow", [], "timed_out"),
        ("count", [], "succeeded"),
    ],
)
def test_every_end_of_a_job_and_its_log_is_as_described(
    proxy: Proxied, script: str, args: list[str], status: str
) -> None:
    response = proxy.run(script, *args)

    job = response.json()
    assert (response.status_code, job["status"]) == (200, status)
    assert proxy.job(job["jobId"]) == job
    assert proxy.http.post(f"/jobs/{job['jobId']}/cancel").json() == job
    for query in ("", "?stream=stderr", "?offset=3&limit=2", "?offset=900"):
        assert proxy.http.get(f"/jobs/{job['jobId']}/logs{query}").status_code == 200


def test_a_job_is_as_described_while_it_is_queued_and_runs_and_is_cancelled(
    proxy: Proxied, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        running, queued = proxy.submit("tap", tap.path), proxy.submit("print")
        tap.write(b"x")
        assert proxy.job(running)["status"] == "running"
        assert proxy.job(queued)["status"] == "queued"
        for job_id in (running, queued):
            assert proxy.http.get(f"/jobs/{job_id}/logs").status_code == 200

        canceled = proxy.http.post(f"/jobs/{queued}/cancel").json()
        still_running = proxy.http.post(f"/jobs/{running}/cancel").json()

        assert (canceled["status"], still_running["status"]) == ("canceled", "running")
        assert proxy.ended(running)["status"] == "canceled"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scriptId": "nope"}, "SCRIPT_NOT_FOUND"),
        ({"scriptId": "print", "args": ["a", "b", "c"]}, "INVALID_ARGS"),
        ({"scriptId": "print", "args": ["123456"]}, "INVALID_ARGS"),
        ({"scriptId": "print", "args": ["!"]}, "INVALID_ARGS"),
        ({"scriptId": "print", "args": ["\0"]}, "INVALID_ARGS"),
    ],
)
def test_a_run_is_refused_as_described(proxy: Proxied, body: object, code: str) -> None:
    response = proxy.http.post("/run", json=body)

    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


OPERATIONS = [
    ("POST", "/run"),
    ("GET", "/jobs/nope"),
    ("GET", "/jobs/nope/logs"),
    ("POST", "/jobs/nope/cancel"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS[1:])
def test_a_job_that_is_not_there_gets_the_response_described(
    proxy: Proxied, method: str, path: str
) -> None:
    response = proxy.http.request(method, path)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")


def call(proxy: Proxied, method: str, path: str, **headers: str) -> httpx.Response:
    body = {"scriptId": "print"} if path == "/run" else None
    return proxy.http.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_foreign_origin_gets_the_response_described(
    proxy: Proxied, method: str, path: str
) -> None:
    response = call(proxy, method, path, origin="http://evil.example")

    assert (response.status_code, response.json()["error"]["code"]) == (403, "FORBIDDEN_ORIGIN")


def test_a_large_body_gets_the_response_described(proxy: Proxied) -> None:
    response = proxy.run("print", "x" * (2 * MIB))

    assert (response.status_code, response.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")


def test_a_failure_of_the_runner_gets_the_response_described(proxy: Proxied) -> None:
    job_id = proxy.run("print").json()["jobId"]
    log = proxy.runner.folder / "logs" / f"{job_id}.stdout.log"
    log.unlink()
    log.mkdir()

    response = proxy.http.get(f"/jobs/{job_id}/logs")

    assert (response.status_code, response.json()["error"]["code"]) == (500, "INTERNAL_ERROR")


def test_prism_objects_to_what_is_not_as_described(proxy: Proxied) -> None:
    with pytest.raises(PrismError, match="stream"):
        proxy.http.get("/jobs/nope/logs?stream=bogus")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Proxied]:
    """A runner that wants a token."""
    yield from proxied(tmp_path, token="secret")


def test_a_caller_without_the_token_gets_the_response_described(guarded: Proxied) -> None:
    for method, path in OPERATIONS:
        refused = call(guarded, method, path)
        wrong = call(guarded, method, path, authorization="Bearer wrong")
        right = call(guarded, method, path, authorization="Bearer secret")

        assert (refused.status_code, wrong.status_code) == (401, 401)
        assert refused.json()["error"]["code"] == "UNAUTHORIZED"
        assert right.status_code == (200 if path == "/run" else 404)


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[Proxied]:
    """A runner that the test ends."""
    yield from proxied(tmp_path)


def test_a_runner_that_stops_responds_as_described(ending: Proxied, tmp_path: Path) -> None:
    with Tap(tmp_path) as tap, ThreadPoolExecutor() as threads:
        running = ending.submit("tap", tap.path)
        tap.write(b"x")
        waiting = threads.submit(ending.run, "print")
        wait_until(lambda: id_of_the_job_after(ending.runner, running))

        ending.runner.stop()
        response = waiting.result()

    assert (response.status_code, response.json()["error"]["code"]) == (503, "UNAVAILABLE")
