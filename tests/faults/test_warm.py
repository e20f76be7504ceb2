"""A connection that has been used before: what breaks it, and how long each call may take."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from script_runner import RequestTimedOut, RunnerUnreachable, Settings
from tests.faults.attempts import MAY_RUN, OVERLOADED, STILL_RUNNING, TRY_AGAIN, attempt
from tests.faults.conftest import change
from tests.faults.places import (
    LOGS,
    RUN,
    Place,
    at_every_block,
    at_every_place,
    faulty,
    healthy_response,
    kind_of,
)
from tests.faults.test_connections import RESET, SLACK_SECONDS, lost, silent
from tests.support.misbehaving_server import Action, MisbehavingServer, Request, Step


class OnceWell:
    """A server that responds to the first request, and is silent after the second until it resets.

    Attributes:
        server: It, listening.
    """

    def __init__(self, silent_seconds: float) -> None:
        """Say how long it is silent."""
        self._silent_seconds = silent_seconds
        self.server = MisbehavingServer(self._respond)

    def _respond(self, request: Request) -> Iterator[Step]:
        if len(self.server.requests) == 1:
            yield healthy_response("get-job-status", request)
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
        said = f"no whole response within {short_limits:g} s"
        tried.failed(RequestTimedOut, line, said, hint)
    assert tried.seconds < short_limits + SLACK_SECONDS
    assert (server.connections, len(server.requests)) == (1, 2)
    assert runs(server) == place.is_run


@pytest.mark.usefixtures("small_pages")
@at_every_place
def test_each_call_may_take_as_long_as_is_documented(place: Place) -> None:
    assert (Settings().response_seconds, Settings().sync_run_seconds) == (30, 300)
    change(response_seconds=0.1, sync_run_seconds=0.3, missing_output_seconds=0)
    if place.block == "wait-for-job" and (place.healthy or place.kind == LOGS):
        pytest.skip("a wait goes on when a later call takes too long")
    with faulty(place, silent) as server:
        tried = place.try_at(server.url)
    is_sync_run = place.block == "run-script-sync" and place.is_run
    said = f"no whole response within {0.3 if is_sync_run else 0.1} s"
    hint = STILL_RUNNING if place.is_run else OVERLOADED
    tried.failed(RequestTimedOut, f"{place.line} at {server.url}", said, hint)
