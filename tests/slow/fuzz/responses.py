"""Responses made by chance: those of the spec, its errors too, with something spoiled.

`check_responses` takes an example and raises if something does not hold of it.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any, NamedTuple

from hypothesis import strategies as st

from script_runner import InvalidInput, RequestRejected, ScriptRunnerError, WaitTimedOut
from scripts.blocks import BLOCKS
from tests.faults.attempts import attempt
from tests.faults.places import FIRST_PLACES, LOGS, kind_of
from tests.slow.fuzz.inputs import json_values
from tests.support.misbehaving_server import Action, MisbehavingServer, Request, Step, http_response
from tests.support.spec import DescribedResponse, described_responses

ATTEMPT_SECONDS = 10.0
"""How long an attempt may take if every response comes at once, on a busy machine too."""

ASKED_CHARACTERS = 200
"""How much of a path a message has at least."""

OPERATION_OF = {
    "run-script-async": "runScript",
    "run-script-sync": "runScript",
    "get-job-status": "getJob",
    "get-job-logs": "getJobLogs",
    "cancel-job": "cancelJob",
    "wait-for-job": "getJob",
}
RESPONSES_OF = {
    operation: [response for response in described_responses() if response.operation == operation]
    for operation in OPERATION_OF.values()
}
ERROR_OF = {
    json.dumps(response.body).encode(): response.body["error"]
    for response in described_responses()
    if response.schema == "Error"
}
"""What is in each body of an error that is not spoiled."""

GOOD_OF = {
    operation: [response for response in known if response.status < 300]
    for operation, known in RESPONSES_OF.items()
}


class Spoiled(NamedTuple):
    """What a block meets; of each list the last response is given again and again.

    Attributes:
        block: The block.
        timeout_seconds: Its input, where it has that.
        first: The responses to its own operation.
        pages: The responses to requests for a page of a log.
    """

    block: str
    timeout_seconds: float
    first: list[bytes]
    pages: list[bytes]


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Each place in a JSON value: what holds it, and under which key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    here = [(value, key) for key in keys]
    inner = [value[key] for key in keys if isinstance(value[key], dict | list)]
    return here + [node for each in inner for node in _nodes(each)]


@st.composite
def mutated_bodies(draw: st.DrawFn, response: DescribedResponse) -> bytes:
    """The body of a response of the spec with some values dropped, replaced or inserted."""
    body = copy.deepcopy(response.body)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 4]))):
        if not (nodes := _nodes(body)):
            break
        holder, key = draw(st.sampled_from(nodes))
        match draw(st.sampled_from(["drop", "replace", "insert"])):
            case "drop":
                del holder[key]
            case "insert" if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = draw(json_values)
            case _:
                holder[key] = draw(json_values)
    raw = bytearray(json.dumps(body).encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 3]))):
        position = draw(st.integers(0, len(raw) - 1))
        raw[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
        raw = raw or bytearray(b" ")
    return bytes(raw)


@st.composite
def mutated_responses(draw: st.DrawFn, operation: str) -> bytes:
    """A response to an operation, good or an error, now and then one to another operation."""
    good, known = GOOD_OF[operation], RESPONSES_OF[operation]
    any_known = [response for each in RESPONSES_OF.values() for response in each]
    response = draw(st.sampled_from(draw(st.sampled_from([good, good, known, known, any_known]))))
    status = draw(st.sampled_from([response.status] * 12 + [200, 202, 204, 404, 500, 503]))
    body = b"" if status == 204 else draw(mutated_bodies(response))
    # Said, so that no request meets a connection that is being closed.
    return http_response(status, body, "Connection: close")


@st.composite
def spoiled_responses(draw: st.DrawFn) -> Spoiled:
    """A block, and the response to each of its requests."""
    block = draw(st.sampled_from(BLOCKS))
    several = st.integers(1, 3 if block == "wait-for-job" else 1)
    first = [draw(mutated_responses(OPERATION_OF[block])) for _ in range(draw(several))]
    pages = [draw(mutated_responses("getJobLogs")) for _ in range(draw(st.integers(1, 3)))]
    # Three polls: at once, after 0.05 s, and at the end.
    timeout = draw(st.sampled_from([0, 0.06])) if len(first) > 1 else 0
    return Spoiled(block, timeout, first, pages)


def check_responses(spoiled: Spoiled) -> None:
    """Whatever comes back: outputs of the declared types, or an error that says what it was."""
    first, pages = list(spoiled.first), list(spoiled.pages)
    response: list[bytes] = []

    def respond(request: Request) -> list[Step]:
        left = pages if kind_of(request) == LOGS else first
        response.append(left.pop(0) if len(left) > 1 else left[0])
        return [response[-1], Action.CLOSE]

    place = FIRST_PLACES[spoiled.block]
    given = {**place.inputs, "timeout_seconds": spoiled.timeout_seconds}
    with MisbehavingServer(respond) as server:
        tried = attempt(spoiled.block, server.url, **given)
        runs = [request for request in server.requests if request.target == "/run"]
    assert tried.seconds < ATTEMPT_SECONDS
    assert len(runs) == place.is_run
    assert len(server.requests) < 200
    head, _, body = response[-1].partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if spoiled.block == "wait-for-job" and response[:-1]:
        # Once the job was seen only its loss ends the wait.
        assert type(tried.error) in (type(None), RequestRejected, WaitTimedOut), tried.error
        assert not isinstance(tried.error, RequestRejected) or status >= 400
    else:
        assert isinstance(tried.error, RequestRejected) == (status >= 400), tried.error
    if isinstance(tried.error, RequestRejected):
        check_rejection(tried.error, status, body)
    if tried.error is not None:
        check_message(tried.error, server)


def check_rejection(error: RequestRejected, status: int, body: bytes) -> None:
    """Check that an error has what the runner said."""
    assert error.status_code == status
    if body in ERROR_OF:
        assert {"code": error.code, "message": error.message} == ERROR_OF[body]
        assert f"{status} {error.code}: " in str(error)


def check_message(error: ScriptRunnerError, server: MisbehavingServer) -> None:
    """Check that an error is not blamed on the inputs, and says whom it is about in a sentence."""
    assert not isinstance(error, InvalidInput), error
    asked = {
        re.escape(f"{request.method} {request.target[:ASKED_CHARACTERS]}")
        for request in server.requests
    }
    # What is wrong with several pages together, and a wait that is over.
    asked |= {"the (stdout|stderr) log of job", "job"}
    where = re.escape(server.url)
    sentence = rf"({'|'.join(asked)}).* at {where}( is|:| has| was) .*\S[.?]"
    assert re.fullmatch(sentence, str(error)), error
