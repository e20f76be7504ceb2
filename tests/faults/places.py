"""Where a fault can meet a block: each kind of request that a block sends, first or later."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from script_runner import disconnect
from tests.faults.attempts import Attempt, attempt
from tests.script_runner.documented import documented
from tests.script_runner.page_server import asked_job, page_for, wanted_page
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_response

JOB_ID = "job_1"
LOG = "日志 one\nline two\nline three\nline four\n".encode()
JOB_INPUTS: dict[str, object] = {"job_id": JOB_ID}
RUN_INPUTS: dict[str, object] = {"script_id": "quick-echo", "args": ["a"]}
WAIT_INPUTS = JOB_INPUTS | {"timeout_seconds": 5}
PAGE_BYTES = 16
"""So small that the log has pages."""

RUN, JOB, LOGS, CANCEL = "run", "job", "logs", "cancel"


@dataclass(frozen=True)
class Place:
    """A request of a block that a fault meets.

    Attributes:
        block: The block.
        kind: Which of the operations it calls.
        line: Method and target of the request.
        inputs: What the block is given.
        healthy: How many requests of that kind are served well before the fault; of pages, the
            first ones of the log.
    """

    block: str
    kind: str
    line: str
    inputs: Mapping[str, object] = field(default_factory=dict)
    healthy: int = 0

    @property
    def good_status(self) -> int:
        """The status of a good response."""
        return 202 if self.block == "run-script-async" else 200

    @property
    def is_run(self) -> bool:
        """Whether the fault meets `POST /run`."""
        return self.kind == RUN

    def try_at(self, url: str) -> Attempt:
        """Run the block against a server."""
        return attempt(self.block, url, **self.inputs)


def _log_line(offset: int) -> str:
    return f"GET /jobs/{JOB_ID}/logs?stream=stdout&offset={offset}&limit={PAGE_BYTES}"


POLL = f"GET /jobs/{JOB_ID}"
PLACES = {
    "run-script-async": Place("run-script-async", RUN, "POST /run", RUN_INPUTS),
    "run-script-sync": Place("run-script-sync", RUN, "POST /run", RUN_INPUTS),
    "run-script-sync, its output": Place("run-script-sync", LOGS, _log_line(0), RUN_INPUTS),
    "get-job-status": Place("get-job-status", JOB, POLL, JOB_INPUTS),
    "get-job-logs": Place("get-job-logs", LOGS, _log_line(0), JOB_INPUTS),
    "get-job-logs, a later page": Place("get-job-logs", LOGS, _log_line(16), JOB_INPUTS, 1),
    "cancel-job": Place("cancel-job", CANCEL, f"POST /jobs/{JOB_ID}/cancel", JOB_INPUTS),
    "wait-for-job": Place("wait-for-job", JOB, POLL, WAIT_INPUTS),
}

at_every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
FIRST_PLACES = {name: place for name, place in PLACES.items() if name == place.block}
at_every_block = pytest.mark.parametrize("place", FIRST_PLACES.values(), ids=FIRST_PLACES)
OPERATIONS = {name: place for name, place in FIRST_PLACES.items() if name != "wait-for-job"}
"""One place for each operation, and for each of the two responses of a run."""

at_every_operation = pytest.mark.parametrize("place", OPERATIONS.values(), ids=OPERATIONS)


def at_places(name: str, faults: Mapping[str, object], *everywhere: str) -> pytest.MarkDecorator:
    """Parametrize `place` and a fault: each fault at every operation, some at every place.

    Args:
        name: The argument that gets the fault.
        faults: The faults by what they are.
        everywhere: Those of which there is one of each class: they meet every place.
    """
    met = [
        pytest.param(place, fault, id=f"{what}-{where}")
        for what, fault in faults.items()
        for where, place in PLACES.items()
        if where in OPERATIONS or what in everywhere
    ]
    return pytest.mark.parametrize(("place", name), met)


Fault = Callable[[bytes, threading.Event], Iterable[Step]]
"""What is done in place of a good response; it gets that, and what is set when the server stops."""


def kind_of(request: Request) -> str:
    """Which operation a request calls."""
    path = urlsplit(request.target).path
    for ending, kind in (("/run", RUN), ("/logs", LOGS), ("/cancel", CANCEL)):
        if path.endswith(ending):
            return kind
    return JOB


def schema_of(place: Place) -> str:
    """The schema of a good response at a place."""
    if place.block == "run-script-async":
        return "AcceptedJob"
    return "LogPage" if place.kind == LOGS else "Job"


def healthy_response(block: str, request: Request) -> bytes:
    """The response of a runner whose job has written `LOG` and, for a wait, still runs."""
    match kind_of(request):
        case "run" if block == "run-script-async":
            return json_response(202, documented("runScript", "running"))
        case "logs":
            log = LOG if wanted_page(request)[0] == "stdout" else b""
            return json_response(200, page_for(request, log))
    job_id = JOB_ID if kind_of(request) == RUN else asked_job(request)
    example = "running" if block == "wait-for-job" else "succeeded"
    written = {"stdoutSize": len(LOG), "stdoutPreview": "", "stderrSize": 0, "stderrPreview": ""}
    asked = {"scriptId": json.loads(request.body)["scriptId"]} if kind_of(request) == RUN else {}
    return json_response(200, documented("getJob", example) | {"jobId": job_id} | written | asked)


class FaultyRunner:
    """A runner that does what it should, but for one kind of request.

    Attributes:
        runs: How many `POST /run` have come.
    """

    def __init__(self, place: Place, fault: Fault) -> None:
        """Say which request is to meet what."""
        self.runs = 0
        self._place = place
        self._fault = fault
        self._seen = 0

    def respond(self, request: Request, stopped: threading.Event) -> Iterable[Step]:
        """Respond as a `MisbehavingServer` does."""
        kind = kind_of(request)
        self.runs += kind == RUN
        whole = healthy_response(self._place.block, request)
        if kind != self._place.kind:
            return [whole]
        # Two pages may be asked for at once.
        before = wanted_page(request)[1] // PAGE_BYTES if kind == LOGS else self._seen
        self._seen += 1
        return [whole] if before < self._place.healthy else self._fault(whole, stopped)


@contextlib.contextmanager
def faulty(place: Place, fault: Fault) -> Iterator[MisbehavingServer]:
    """A server with a fault; a run must reach it exactly once, and only where a block runs one."""
    runner = FaultyRunner(place, fault)
    with MisbehavingServer(lambda request: runner.respond(request, server.stopped)) as server:
        yield server
    assert runner.runs == place.block.startswith("run-script")


def responding(place: Place, *steps: Step) -> contextlib.AbstractContextManager[MisbehavingServer]:
    """A server that gives one response where a fault is to be."""
    return faulty(place, lambda _whole, _stopped: steps)


def tried_with_each(place: Place, faults: Iterable[Fault]) -> Iterator[tuple[str, Attempt]]:
    """Meet one fault after another at one server, which is quicker than at a server for each.

    Yields:
        The URL of the server, and what came of the attempt.
    """
    now: list[FaultyRunner] = []
    with MisbehavingServer(lambda request: now[-1].respond(request, server.stopped)) as server:
        for fault in faults:
            now.append(FaultyRunner(place, fault))
            # What was read of the log before belongs to another attempt.
            disconnect()
            yield server.url, place.try_at(server.url)
            assert now[-1].runs == place.block.startswith("run-script")
