"""A page in a real browser tries to run scripts on the machine of whoever visits it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until

SCRIPTS = {"runs": "#!/bin/sh\necho ran\n", "sleeps": "#!/bin/sh\nexec sleep 300\n"}

TRIES = """async ([runner, job]) => {
  const run = JSON.stringify({scriptId: "runs", mode: "sync"});
  const blind = {method: "POST", mode: "no-cors"};
  const json = {"content-type": "application/json"}, text = {"content-type": "text/plain"};
  const fetched = async (path, options) => {
    const response = await fetch(runner + path, options);
    return response.type === "opaque" ? "opaque" : response.status + " " + await response.text();
  };
  const loaded = (tag, path) => new Promise((resolve) => {
    const element = document.createElement(tag);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("error");
    element.src = runner + path;
    document.body.append(element);
  });
  const submitted = (enctype, name, value) => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.name = "frame" + Math.random();
    document.body.append(frame);
    frame.onload = () => resolve("submitted");
    const form = document.createElement("form");
    Object.assign(form, {action: runner + "/run", method: "POST", enctype, target: frame.name});
    const field = document.createElement("input");
    Object.assign(field, {type: "hidden", name, value});
    form.append(field);
    document.body.append(form);
    form.submit();
  });
  const tries = {
    fetch_json: () => fetched("/run", {method: "POST", headers: json, body: run}),
    fetch_text: () => fetched("/run", {method: "POST", headers: text, body: run}),
    fetch_no_cors: () => fetched("/run", {...blind, headers: text, body: run}),
    fetch_no_type: () => fetched("/run", {...blind, body: new Blob([run])}),
    beacon: () => navigator.sendBeacon(runner + "/run", run) ? "sent" : "not sent",
    form_urlencoded: () => submitted("application/x-www-form-urlencoded", "scriptId", "runs"),
    form_multipart: () => submitted("multipart/form-data", "scriptId", "runs"),
    form_text: () => submitted("text/plain", run.slice(0, -1) + ',"x":"', '"}'),
    read_job: () => fetched("/jobs/" + job),
    list_jobs: () => fetched("/jobs"),
    cancel_job: () => fetched("/jobs/" + job + "/cancel", blind),
    image: () => loaded("img", "/page/icon.svg"),
    script: () => loaded("script", "/jobs/" + job),
    web_socket: () => new Promise((resolve) => {
      const socket = new WebSocket("ws://" + new URL(runner || "/", location.href).host + "/run");
      socket.onopen = () => resolve("open");
      socket.onerror = () => resolve("error");
    }),
  };
  const results = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try { results[name] = await attempt(); } catch (error) { results[name] = error.name; }
  }
  return results;
}"""

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
    "list_jobs": "TypeError",
    "cancel_job": "opaque",
    "image": "error",
    "web_socket": "error",
}
"""How tries end for a page of another origin; how the tag `script` ends is for the browser."""


@pytest.fixture
def site() -> Iterator[int]:
    """The port of a web site on this machine that has an empty page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def victim(folder: Path, **server: object) -> Iterator[tuple[RunnerProcess, str]]:
    """A runner, and a job that runs on it."""
    settings = {"maxConcurrent": 2, "killGraceSeconds": 0.2}
    with RunnerProcess(folder, SCRIPTS, server=server, runner=settings) as runner:
        yield runner, runner.submit("sleeps")


def visit(browser: Browser, origin: str, target: str, job_id: str) -> dict[str, str]:
    """Have somebody visit a page, and the page try everything.

    Args:
        browser: What they visit it with.
        origin: The page.
        target: The runner as the page calls it; empty for the page's own origin.
        job_id: A job that is there.
    """
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(origin)
        results: dict[str, str] = page.evaluate(TRIES, [target, job_id])
        return results


def requests(runner: RunnerProcess, method: str, path: str = "/run") -> list[int]:
    """The statuses of the responses to requests, according to the runner's log."""
    lines = [event for event in runner.logged() if event["event"] == "request"]
    return [line["status"] for line in lines if (line["method"], line["path"]) == (method, path)]


def assert_nothing_ran(runner: RunnerProcess, job_id: str) -> None:
    """Only the job that is there by right is there, untouched."""
    jobs = runner.http.get("/jobs").json()["jobs"]
    assert [(job["jobId"], job["status"]) for job in jobs] == [(job_id, "running")]


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("evil.example", "127.0.0.1"),
        ("evil.example", "evil.example"),
    ],
)
def test_a_page_of_another_origin_runs_cancels_and_reads_nothing(
    tmp_path: Path, browser: Browser, site: int, name: str, called: str
) -> None:
    with victim(tmp_path) as (runner, job_id):
        target = runner.url.replace("127.0.0.1", called)
        results = visit(browser, f"http://{name}:{site}", target, job_id)

        assert {**results, **CANNOT_BE_READ} == results
        # The first is the job that is there; fetch_json got no further than its preflight.
        expected = [202, *[403] * 7]
        wait_until(lambda: len(requests(runner, "POST")) >= len(expected))
        assert requests(runner, "POST") == expected
        assert requests(runner, "OPTIONS") == [403]
        assert requests(runner, "POST", f"/jobs/{job_id}/cancel") == [403]
        assert_nothing_ran(runner, job_id)


def test_a_name_that_is_rebound_to_this_machine_reaches_nothing(
    tmp_path: Path, browser: Browser
) -> None:
    with victim(tmp_path) as (runner, job_id):
        origin = runner.url.replace("127.0.0.1", "evil.example")
        results = visit(browser, origin, "", job_id)

        # It is its own origin to the browser, so it may read the responses.
        for name in ("fetch_json", "fetch_text", "read_job", "list_jobs", "cancel_job"):
            status, _, body = results[name].partition(" ")
            assert (status, json.loads(body)["error"]["code"]) == ("403", "FORBIDDEN_HOST"), name
        expected = [202, *[403] * 8]
        wait_until(lambda: len(requests(runner, "POST")) >= len(expected))
        assert requests(runner, "POST") == expected
        assert set(requests(runner, "GET", f"/jobs/{job_id}")) == {403}
        assert (results["image"], results["web_socket"]) == ("error", "error")
        assert_nothing_ran(runner, job_id)


def test_a_page_of_a_configured_origin_may_run_and_read_but_only_with_json(
    tmp_path: Path, browser: Browser, site: int
) -> None:
    origin = f"http://127.0.0.1:{site}"
    with victim(tmp_path, allowedOrigins=[origin]) as (runner, job_id):
        results = visit(browser, origin, runner.url, job_id)

        status, _, body = results["fetch_json"].partition(" ")
        assert (status, json.loads(body)["stdoutPreview"]) == ("200", "ran\n")
        status, _, body = results["read_job"].partition(" ")
        assert (status, json.loads(body)["status"]) == ("200", "running")
        expected = [200, 202, *[415] * 7]
        wait_until(lambda: len(requests(runner, "POST")) >= len(expected))
        assert sorted(requests(runner, "POST")) == expected


def test_the_page_of_the_runner_is_in_no_frame_of_another_site(
    tmp_path: Path, browser: Browser, site: int
) -> None:
    with victim(tmp_path) as (runner, _), contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{site}")
        page.set_content(f'<iframe src="{runner.url}/"></iframe>')
        page.wait_for_load_state()

        wait_until(lambda: requests(runner, "GET", "/") == [200])
        assert page.frames[1].url.startswith("chrome-error:")
