"""A connection that has been used before: what breaks it, and how long each call may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from script_runner import (
    ANSWER_SECONDS,
    SYNC_RUN_SECONDS,
    RequestTimedOut,
    RunnerUnreachable,
    client,
)
from script_runner.limits import time_limit
from tests.faults.attempts import MAY_RUN, OVERLOADED, STILL_RUNNING, TRY_AGAIN, attempt
from tests.faults.places import RUN, Place, at_every_block, healthy_answer, kind_of
from tests.faults.test_connections import RESET, SLACK_SECONDS, lost
from tests.support.misbehaving_server import Action, MisbehavingServer, Request, Step


class OnceWell:
    """A server that answers the first request, and is silent after the second until it resets.

    Attributes:
        server: It, listening.
    """

    def __init__(self, silent_seconds: float) -> None:
        """Say how long it is silent."""
        self._silent_seconds = silent_seconds
        self.server = MisbehavingServer(self._answer)

    def _answer(self, request: Request) -> Iterator[Step]:
        if len(self.server.requests) == 1:
            yield healthy_answer("get-job-status", request)
            return
        self.server.stopped.wait(self._silent_seconds)
        yield Action.RESET


def runs(server: MisbehavingServer) -> int:
    """How many runs have come."""
    return sum(kind_of(request) == RUN for request in server.requests)


@pytest.mark.usefixtures("short_limits", "small_pages")
@at_every_block
@pytest.mark.parametrize("is_reset_in_time", [True, False])
def test_a_warm_connection_that_falls_silent_and_is_reset_is_an_error_and_no_run_is_repeated(
    place: Place, is_reset_in_time: bool, short_limits: float
) -> None:
    slow = OnceWell(0 if is_reset_in_time else 3 * short_limits)
    with slow.server as server:
        assert attempt("get-job-status", server.url, job_id="warm").outputs is not None
        tried = place.try_at(server.url)
    line = f"{place.line} at {server.url}"
    if is_reset_in_time:
        hint = MAY_RUN if place.is_run else TRY_AGAIN
        tried.failed(RunnerUnreachable, line, lost(RESET), hint)
    else:
        hint = STILL_RUNNING if place.is_run else OVERLOADED
        said = f"no whole answer within {short_limits:g} s"
        tried.failed(RequestTimedOut, line, said, hint)
    assert tried.seconds < short_limits + SLACK_SECONDS
    assert (server.connections, len(server.requests)) == (1, 2)
    assert runs(server) == place.is_run


@pytest.mark.usefixtures("small_pages")
@at_every_block
def test_each_call_may_take_as_long_as_is_documented(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def spy(seconds: float) -> object:
        limits.append(seconds)
        return time_limit(seconds)

    monkeypatch.setattr(client, "time_limit", spy)
    is_async = place.block == "run-script-async"
    inputs = {**place.inputs, "timeout_seconds": 300}
    with MisbehavingServer(
        lambda request: [healthy_answer(place.block if is_async else "get-job-status", request)]
    ) as server:
        tried = attempt(place.block, server.url, **inputs)
    assert tried.outputs is not None, tried.error
    is_sync_run = place.block == "run-script-sync"
    assert limits == [
        SYNC_RUN_SECONDS if is_sync_run and kind_of(request) == RUN else ANSWER_SECONDS
        for request in server.requests
    ]
    assert (ANSWER_SECONDS, SYNC_RUN_SECONDS) == (30, 300)
    has_log = place.block in ("run-script-sync", "get-job-logs", "wait-for-job")
    assert len(limits) > 1 if has_log else len(limits) == 1
