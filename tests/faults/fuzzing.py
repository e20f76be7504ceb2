"""What is fuzzed: the inputs of the blocks, the answers they get, and the bytes a runner is sent.

Each function takes an example and raises if something does not hold of it; the examples come from
the strategies here. `test_fuzz` runs a few of them, `scripts/fuzz.py` as many as there is time for.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from script_runner import InvalidInput
from tests.block_runner import BLOCKS
from tests.description import Answer, answers
from tests.faults.attempts import attempt
from tests.faults.places import FIRST_PLACES, healthy_answer, kind_of
from tests.misbehaving_server import Action, MisbehavingServer, Request, Step, http_answer

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["stdout", "stderr", "", ".", "..", "a/b?c#d", "\x00", "\ud800", 0, 1, -1]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
"""Any JSON value, and some that JSON does not have: infinities and half a surrogate pair."""

HANDLES = ("script_id", "args", "job_id", "stream", "offset", "limit", "timeout_seconds")


@st.composite
def inputs(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A block, and inputs of which some are missing and some are anything."""
    block = draw(st.sampled_from(BLOCKS))
    good = {**FIRST_PLACES[block].inputs, "timeout_seconds": 0}
    given_good = {name: value for name, value in good.items() if draw(st.booleans())}
    given = draw(st.dictionaries(st.sampled_from(HANDLES), json_values, max_size=3))
    return block, given_good | given


class EndingJobs:
    """A server on which every job has ended; it is asked by one block after another."""

    def __init__(self) -> None:
        """Listen."""
        self.block = ""
        self.server = MisbehavingServer(self._answer)

    def _answer(self, request: Request) -> list[Step]:
        # As get-job-status gets it: a job that has ended.
        is_async = self.block == "run-script-async"
        return [healthy_answer("run-script-async" if is_async else "get-job-status", request)]


def check_inputs(jobs: EndingJobs, block: str, given: dict[str, Any]) -> None:
    """Any input is a call that is sent, or an InvalidInput and nothing is sent."""
    jobs.block = block
    before = len(jobs.server.requests)
    tried = attempt(block, jobs.server.url, **given)
    sent = jobs.server.requests[before:]
    if tried.error is not None:
        assert type(tried.error) is InvalidInput, tried.error
        assert not sent, sent
    else:
        assert sent
        assert sum(kind_of(request) == "run" for request in sent) == block.startswith("run-")


DOCUMENTED = [answer for answer in answers() if answer.status < 300]
OPERATION_OF = {
    "run-script-async": "runScript",
    "run-script-sync": "runScript",
    "get-job-status": "getJob",
    "get-job-logs": "getJobLogs",
    "cancel-job": "cancelJob",
    "wait-for-job": "getJob",
}


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Each place in a JSON value: what holds it, and under which key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    here = [(value, key) for key in keys]
    inner = [value[key] for key in keys if isinstance(value[key], dict | list)]
    return here + [node for each in inner for node in _nodes(each)]


@st.composite
def mutated_bodies(draw: st.DrawFn, answer: Answer) -> bytes:
    """The body of an answer of the description with some values dropped, replaced or inserted."""
    body = copy.deepcopy(answer.body)
    for _ in range(draw(st.integers(0, 4))):
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
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        position = draw(st.integers(0, len(raw) - 1))
        raw[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
        raw = raw or bytearray(b" ")
    return bytes(raw)


@st.composite
def spoiled_answers(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A block, and what it is answered to each of its requests; the last one again and again."""
    block = draw(st.sampled_from(BLOCKS))
    first = [each for each in DOCUMENTED if each.operation == OPERATION_OF[block]]
    pages = [each for each in DOCUMENTED if each.operation == "getJobLogs"]
    chosen = [draw(st.sampled_from(first))]
    chosen += draw(st.lists(st.sampled_from(pages), max_size=3))
    given = []
    for answer in chosen:
        status = draw(st.sampled_from([answer.status] * 8 + [200, 202, 204, 404, 500, 503]))
        given.append(http_answer(status, b"" if status == 204 else draw(mutated_bodies(answer))))
    return block, given


def check_answers(block: str, given: list[bytes]) -> None:
    """Whatever is answered: outputs of the declared types, or an error of the product."""
    left = list(given)

    def answer(request: Request) -> list[Step]:
        del request
        return [left.pop(0) if len(left) > 1 else left[0], Action.CLOSE]

    place = FIRST_PLACES[block]
    with MisbehavingServer(answer) as server:
        attempt(block, server.url, **{**place.inputs, "timeout_seconds": 0})
        runs = [request for request in server.requests if request.target == "/run"]
    assert len(runs) == place.is_run
    assert len(server.requests) < 200
