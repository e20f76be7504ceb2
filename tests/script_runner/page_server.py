"""A log in memory that is read in pages, as the two servers of the wire cut and decode them."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from generated_client.models import LogPage
from script_runner.logs import Log, Reading
from tests.support.misbehaving_server import Action, MisbehavingServer, Request, Step, json_response

LARGEST_PAGE_BYTES = 1024 * 1024
"""The largest page of the wire."""


class MemoryLog:
    """A `PageSource` over bytes.

    Attributes:
        name: For messages.
        raw: The log as it is now.
        requests: How many pages were asked for.
        bytes_sent: How many bytes of the log were in them.
    """

    def __init__(
        self,
        raw: bytes,
        *,
        cuts_characters: bool = True,
        largest_page: int = LARGEST_PAGE_BYTES,
        growth: Iterable[bytes] = (),
        job_id: str = "job_1",
        stream: str = "stdout",
    ) -> None:
        """Hold a log.

        Args:
            raw: The log.
            cuts_characters: Whether a page is cut at a byte and decoded alone, as by the reference
                server; else it ends before a character that would be cut, as by the local runner.
            largest_page: The most bytes of a page, whatever is asked for.
            growth: What the script writes before each request after the first one.
            job_id: Whose log it is.
            stream: Which of its streams.
        """
        self.name = "the log in memory"
        self.raw = raw
        self.requests = 0
        self.bytes_sent = 0
        self._cuts_characters = cuts_characters
        self._largest_page = largest_page
        self._growth = list(growth)
        self._job_id = job_id
        self._stream = stream

    def page(self, offset: int, limit: int) -> LogPage:
        """The page of at most `limit` bytes from the byte `offset`."""
        if self.requests and self._growth:
            self.raw += self._growth.pop(0)
        self.requests += 1
        part = self.raw[offset : offset + min(limit, self._largest_page)]
        data, used = self._decode(part, is_end=offset + len(part) >= len(self.raw))
        self.bytes_sent += used
        return LogPage(
            ok=True,
            job_id=self._job_id,
            stream=self._stream,
            offset=offset,
            next_offset=offset + used,
            total_size=len(self.raw),
            truncated=False,
            data=data,
        )

    def _decode(self, part: bytes, *, is_end: bool) -> tuple[str, int]:
        """The text of a page, and how many of the bytes it is the text of."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        has_ended = not self._growth
        text = decoder.decode(part, final=is_end and has_ended)
        unfinished = len(decoder.getstate()[0])
        if self._cuts_characters or unfinished == len(part):
            # Half a character alone is sent all the same: a page always advances.
            return part.decode("utf-8", "replace"), len(part)
        return text, len(part) - unfinished


T = TypeVar("T")


def read(reading: Reading[T], log: MemoryLog) -> T:
    """Bring a reading the pages of a log that it asks for."""
    try:
        wanted = next(reading)
        while True:
            wanted = reading.send(log.page(wanted.offset, wanted.limit))
    except StopIteration as end:
        result: T = end.value
        return result


def log_of(page_bytes: int = LARGEST_PAGE_BYTES) -> Log:
    """A log that is read in pages of a size."""
    return Log("stdout", "the log", page_bytes)


def wanted_page(request: Request) -> tuple[str, int, int]:
    """The stream, the offset and the limit that a request for a page names."""
    query = parse_qs(urlsplit(request.target).query)
    return query["stream"][0], int(query["offset"][0]), int(query["limit"][0])


def asked_job(request: Request) -> str:
    """The id of the job that a request is about."""
    *_, last_but_one, last = urlsplit(request.target).path.split("/")
    return unquote(last_but_one if last in ("logs", "cancel") else last)


def page_for(request: Request, raw: bytes) -> dict[str, object]:
    """The page that a request for one wants, of a log that holds `raw`."""
    stream, offset, limit = wanted_page(request)
    log = MemoryLog(raw, job_id=asked_job(request), stream=stream)
    return log.page(offset, limit).to_dict()


def lines_in(raw: bytes) -> list[str]:
    """The lines of a log by the rule of the product, read from the whole of it."""
    *complete, last = raw.decode("utf-8", "replace").split("\n")
    lines = [line[:-1] if line.endswith("\r") else line for line in complete]
    return [*lines, last] if last else lines


Pages = Callable[[str, int, int], dict[str, object] | Action]
"""The page of a job, an offset and a limit, or what is done in its place."""


@contextlib.contextmanager
def log_server(page: Pages) -> Iterator[MisbehavingServer]:
    """A server of logs, whose pages a test makes."""

    def respond(request: Request) -> Iterator[Step]:
        stream, offset, limit = wanted_page(request)
        made = page(asked_job(request), offset, limit)
        if not isinstance(made, Action):
            made = made | {"jobId": asked_job(request), "stream": stream}
        yield made if isinstance(made, Action) else json_response(200, made)

    with MisbehavingServer(respond) as server:
        yield server


def reference(raw: bytes) -> Pages:
    """The pages of the reference server; every job has the same log."""
    return lambda _, offset, limit: MemoryLog(raw).page(offset, limit).to_dict()
