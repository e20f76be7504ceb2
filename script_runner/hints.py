"""What to do next: the last sentence of an error's message."""

from __future__ import annotations

import httpx

from script_runner.transport import CONTAINER_HOST, Exchange

_RETRY_RUN = "The script may have been started: look at the runner's jobs before you run it again."

_BY_CODE = {
    "SCRIPT_NOT_FOUND": "Script ids are those of the runner's scripts.json.",
    "INVALID_ARGS": "Which arguments a script takes is written in the runner's scripts.json.",
    "JOB_NOT_FOUND": "The runner may have forgotten an old job, or this is another runner's job.",
    "NOT_FOUND": "Is this the URL of a script-runner, with nothing missing or added?",
    "UNAUTHORIZED": "Put the runner's token into the URL: http://any:TOKEN@HOST:PORT.",
    "BODY_TOO_LARGE": "Pass large data in a file, not in arguments.",
    # Its own sentence says whether to try again: a queued job must not be run twice.
    "UNAVAILABLE": "",
}

_BY_STATUS = {
    401: _BY_CODE["UNAUTHORIZED"],
    404: _BY_CODE["NOT_FOUND"],
    407: "The proxy of the environment (HTTP_PROXY) wants credentials.",
}


def hint_for_unreachable(base_url: str) -> str:
    """What to do when nothing answers at a URL."""
    url = httpx.URL(base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    return (
        "Is script-runner running there? "
        f"Inside a container use {url.scheme}://{CONTAINER_HOST}:{port}."
    )


def hint_for_lost(exchange: Exchange | None) -> str:
    """What to do when a connection was lost, or an answer did not come whole."""
    if _is_run(exchange):
        return _RETRY_RUN
    return "Did the runner stop or restart? Try again."


def hint_for_timeout(exchange: Exchange | None) -> str:
    """What to do when an answer did not come in time."""
    if _is_run(exchange):
        return (
            "The script may still be running. For a long script use run-script-async and "
            "wait-for-job."
        )
    return "Is the machine of the runner overloaded, or something else listening there?"


def hint_for_rejection(status: int, code: str | None) -> str:
    """What to do when the answer was an HTTP error."""
    if code is None:
        known = _BY_STATUS.get(status)
        return known or "This came from something other than script-runner: check the URL."
    return _BY_CODE.get(code, "The runner's own log says more." if status >= 500 else "")


def hint_for_unusable(status: int | None = None) -> str:
    """What to do when an answer makes no sense."""
    if status is not None and 300 <= status < 400:
        return "Redirects are not followed: use the URL that answers itself."
    return "Is this the URL of a script-runner?"


def _is_run(exchange: Exchange | None) -> bool:
    return exchange is not None and exchange.method == "POST" and exchange.target.endswith("/run")
