"""The blocks with inputs made by chance: what is valid is sent as it was given, nothing else is.

`check_inputs` takes an example and raises if something does not hold of it; the examples come from
the strategies here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from hypothesis import strategies as st

from script_runner import InvalidInput
from scripts.blocks import BLOCKS
from tests.faults.attempts import attempt_with
from tests.faults.places import JOB_ID, LOG, healthy_response
from tests.script_runner.page_server import lines_in
from tests.slow.fuzz.urls import Target, targets
from tests.support.block_runner import manifest
from tests.support.misbehaving_server import MisbehavingServer, Request, Step

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(
        ["stdout", "stderr", "", ".", "..", "...", "a\nb", "a/b?c#d", "\x00", "\ud800", 0, 1, -1]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
"""Any JSON value, and some that JSON does not have: infinities and half a surrogate pair."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
script_ids = texts.filter(bool) | st.sampled_from([".", "..", "a/b?c#d", "%2F", " a ", "+", "\x00"])
job_ids = script_ids.filter(lambda text: text not in (".", ".."))
VALID: dict[str, st.SearchStrategy[Any]] = {
    "script_id": script_ids,
    "job_id": job_ids,
    "args": st.lists(texts, max_size=4),
    "stream": st.sampled_from(["stdout", "stderr"]),
    "offset": st.integers(0, 6),
    "limit": st.integers(1, 6),
    "timeout_seconds": st.floats(0, 300),
}
HANDLES = {
    block: [each["handle"] for each in manifest(block)["inputs_def"] if each["handle"] in VALID]
    for block in BLOCKS
}


class Inputs(NamedTuple):
    """What a block is given.

    Attributes:
        block: The block.
        target: Its `script_runner_url`.
        given: Its other inputs.
        spoiled: The names of those that may be anything, or are missing.
    """

    block: str
    target: Target
    given: dict[str, Any]
    spoiled: set[str]


@st.composite
def inputs(draw: st.DrawFn) -> Inputs:
    """A block and its inputs, most of them valid."""
    block = draw(st.sampled_from(BLOCKS))
    given = {name: draw(VALID[name]) for name in HANDLES[block]}
    some = st.sampled_from(HANDLES[block])
    is_spoiled = draw(st.integers(0, 2)) == 2
    anything = draw(st.dictionaries(some, json_values, max_size=2)) if is_spoiled else {}
    missing = draw(st.sets(some, max_size=1)) if is_spoiled else set()
    given = {name: given[name] for name in given if name not in missing} | anything
    return Inputs(block, draw(targets(json_values)), given, missing | set(anything))


class EndingJobs:
    """A server on which every job has ended; it is asked by one block after another."""

    def __init__(self) -> None:
        """Listen."""
        self.block = ""
        self.server = MisbehavingServer(self._respond)

    def _respond(self, request: Request) -> list[Step]:
        # As get-job-status gets it: a job that has ended.
        is_async = self.block == "run-script-async"
        return [healthy_response("run-script-async" if is_async else "get-job-status", request)]


def check_inputs(jobs: EndingJobs, example: Inputs) -> None:
    """Any input is a call that is sent as it is meant, or an InvalidInput and nothing is sent."""
    jobs.block, target, given, spoiled = example
    before = len(jobs.server.requests)
    tried = attempt_with(jobs.block, given | {"script_runner_url": target.at(jobs.server.port)})
    sent = jobs.server.requests[before:]
    if tried.error is not None:
        assert not sent, sent
        assert type(tried.error) is InvalidInput, tried.error
        may_be_bad = spoiled if target.prefix is not None else {*spoiled, "script_runner_url"}
        # The message begins with the name of the input.
        assert re.split(r"\W", str(tried.error))[0] in may_be_bad, tried.error
    else:
        assert tried.outputs is not None
        assert target.prefix is not None, sent
        _check_sent(sent, jobs.block, target, given)
        _check_outputs(tried.outputs, jobs.block, given)


def _check_sent(sent: Sequence[Request], block: str, target: Target, given: dict[str, Any]) -> None:
    """Check method, path, query, body and credentials of what was sent."""
    assert {request.headers.get("authorization") for request in sent} == {target.authorization}
    assert target.prefix is not None
    first, *later = [_read(request) for request in sent]
    job_id = given["job_id"] if "job" in block else JOB_ID
    page = ("GET", [*target.prefix, "jobs", job_id, "logs"], None)
    if block != "get-job-logs":
        method, path, body = _meant(block, given)
        assert first == (method, [*target.prefix, *path], body, {})
    else:
        later = [first, *later]
    for *request, query in later:
        assert tuple(request) == page
        assert list(query) == ["stream", "offset", "limit"]
        if block != "run-script-sync":
            assert query["stream"] == [_stream(given)]


def _meant(block: str, given: dict[str, Any]) -> tuple[str, list[str], Any]:
    """The first request of a block: its method, the parts of its path, its body."""
    if block.startswith("run-script"):
        args = given.get("args")
        mode = block.removeprefix("run-script-")
        body = {"scriptId": given["script_id"], "args": [] if args is None else args, "mode": mode}
        return "POST", ["run"], body
    path = ["jobs", given["job_id"]]
    return ("POST", [*path, "cancel"], None) if block == "cancel-job" else ("GET", path, None)


def _read(request: Request) -> tuple[str, list[str], Any, dict[str, list[str]]]:
    """A request as `_meant` gives it, and its query."""
    path, _, query = request.target.partition("?")
    assert path.startswith("/")
    decoded = [unquote(part, errors="strict") for part in path[1:].split("/")]
    body = json.loads(request.body) if request.body else None
    return request.method, decoded, body, parse_qs(query, strict_parsing=bool(query))


def _stream(given: dict[str, Any]) -> str:
    return "stderr" if given.get("stream") == "stderr" else "stdout"


def _check_outputs(outputs: dict[str, Any], block: str, given: dict[str, Any]) -> None:
    """Check the lines and the text of a log: which bytes are asked for is seen in them."""
    if block == "run-script-sync":
        assert (outputs["stdout"], outputs["stderr"]) == (LOG.decode(), "")
    elif block == "get-job-logs":
        lines = lines_in(LOG) if _stream(given) == "stdout" else []
        first, limit = given.get("offset") or 0, given.get("limit") or 100
        assert outputs["logs"] == lines[int(first) : int(first) + int(limit)]
        assert outputs["total_lines"] == len(lines)
