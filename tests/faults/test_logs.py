"""Pages of a log that do not fit together, for each block that reads one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from script_runner import InvalidResponse
from tests.faults.places import LOGS, PLACES, Place, faulty, healthy_answer, kind_of, wanted_page
from tests.misbehaving_server import MisbehavingServer, Request, Step, json_answer
from tests.script_runner.page_server import MemoryLog

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone")

READERS = {name: place for name, place in PLACES.items() if place.kind == LOGS}
MAX_REQUESTS = 40
"""How many pages a block may ask for before it gives up a log that makes no sense."""

Fields = dict[str, object]
Pages = Callable[[int, int], Fields]
TEXT = "a\nb\nc\nd\n"


def page(offset: int, next_offset: int, total: int, data: str) -> Fields:
    return {"offset": offset, "nextOffset": next_offset, "totalSize": total, "data": data}


BAD_PAGES: dict[str, Pages] = {
    "do not advance": lambda offset, _: page(offset, offset, 99, ""),
    "do not advance though they have text": lambda offset, _: page(offset, offset, 99, TEXT),
    "jump back": lambda offset, _: page(offset, offset - 1, 99, ""),
    "begin anew": lambda offset, _: page(0 if offset else -1, 8, 99, TEXT),
    "overlap": lambda offset, _: page(offset - 2, offset + 6, 99, TEXT),
    "run ahead": lambda offset, _: page(offset + 8, offset + 16, 99, TEXT),
    "are larger than asked for": lambda offset, limit: page(
        offset, offset + limit + 1, 99, "x" * (limit + 1)
    ),
    "have less text than bytes": lambda offset, _: page(offset, offset + 8, 99, "a"),
    "have more text than bytes": lambda offset, _: page(offset, offset + 8, 99, TEXT * 2),
    "shrink": lambda offset, _: page(offset, offset + 8, 39 - offset, TEXT),
    "have a negative size": lambda offset, _: page(offset, offset, -5, ""),
    "end before they begin": lambda offset, _: page(offset, offset + 8, offset, TEXT),
}


@pytest.mark.parametrize("place", READERS.values(), ids=READERS)
@pytest.mark.parametrize("pages", BAD_PAGES.values(), ids=BAD_PAGES)
def test_pages_that_do_not_fit_together_are_an_invalid_response(place: Place, pages: Pages) -> None:
    seen = 0

    def answer(request: Request) -> Iterator[Step]:
        nonlocal seen
        if kind_of(request) != LOGS or seen < place.healthy:
            seen += kind_of(request) == LOGS
            yield healthy_answer(place.block, request)
            return
        _, offset, limit = wanted_page(request)
        yield json_answer(200, MemoryLog(b"").page(0, 1).to_dict() | pages(offset, limit))

    with MisbehavingServer(answer) as server:
        tried = place.try_at(server.url)
    assert isinstance(tried.error, InvalidResponse), tried
    where = re.escape(f"the stdout log of job job_1 at {server.url}")
    assert re.fullmatch(rf"{where}.+ (Is this a script-runner\?|Ask again\.)", str(tried.error))
    assert len(server.requests) < MAX_REQUESTS


@pytest.mark.parametrize("place", READERS.values(), ids=READERS)
def test_a_log_that_is_gone_between_two_requests_is_rejected(place: Place) -> None:
    error = {"ok": False, "error": {"code": "JOB_NOT_FOUND", "message": "job not found: job_1"}}
    with faulty(place, lambda *_: [json_answer(404, error)]) as server:
        tried = place.try_at(server.url)
    hint = "The runner may have forgotten an old job, or this is another runner's job."
    assert tried.error is not None
    line = f"{place.line} at {server.url}"
    tried.failed(type(tried.error), line, "404 JOB_NOT_FOUND: job not found: job_1", hint)
