"""What a runner sent over one connection, read strictly: whole answers of HTTP/1.1, one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import h11

from generated_client.models import Error

HTTP_LAYER_STATUSES = (400, 408)
"""The answers to what is no request, which have no body for machines."""


class RawAnswer(NamedTuple):
    """An answer.

    Attributes:
        status: Its status.
        content_type: Its content type, "" where it has none.
        body: Its body, without its framing.
    """

    status: int
    content_type: str
    body: bytes


def answers_in(received: bytes, *, is_all: bool) -> Iterator[RawAnswer]:
    """The answers in what was received.

    Args:
        received: All bytes that came over a connection.
        is_all: Whether the connection was closed after them; else the last answer may be cut.

    Raises:
        h11.RemoteProtocolError: If that is not HTTP/1.1.
    """
    while received:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(received)
        if is_all:
            connection.receive_data(b"")
        answer = _next_answer(connection)
        if answer is None:
            return
        yield answer
        received, _ = connection.trailing_data
        assert not received or connection.their_state is h11.DONE, "more came after the last answer"


def _next_answer(connection: h11.Connection) -> RawAnswer | None:
    """The next whole answer, None where it is cut."""
    status, content_type, body = 0, b"", b""
    while True:
        match connection.next_event():
            case h11.Response() as head:
                assert head.http_version == b"1.1"
                status, content_type = (
                    head.status_code,
                    dict(head.headers).get(b"content-type", b""),
                )
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return RawAnswer(status, content_type.decode(), body)
            case h11.InformationalResponse() if not connection.trailing_data[0]:
                # Told to send the body, and it never came.
                return None
            case h11.NEED_DATA:
                return None


def check_answer(answer: RawAnswer) -> None:
    """Check that an answer is JSON, and an error that of the wire or of the HTTP layer."""
    if answer.status in HTTP_LAYER_STATUSES and not answer.content_type.startswith("application/"):
        return
    assert answer.content_type == "application/json; charset=utf-8", answer
    body = json.loads(answer.body)
    assert body["ok"] is (answer.status < 400), answer
    if not body["ok"]:
        error = Error.from_dict(body).error
        assert error.code.isupper(), answer
        assert error.message.strip(), answer
