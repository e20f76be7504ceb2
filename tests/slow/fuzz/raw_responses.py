"""What a runner sent over one connection, read strictly: whole responses, one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import h11

from generated_client.models import Error

HTTP_LAYER_STATUSES = (400, 408)
"""The responses to what is no request, which have no body for machines."""


class RawResponse(NamedTuple):
    """A response.

    Attributes:
        status: Its status.
        content_type: Its content type, "" where it has none.
        body: Its body, without its framing.
    """

    status: int
    content_type: str
    body: bytes


def responses_in(received: bytes, *, is_all: bool) -> Iterator[RawResponse]:
    """The responses in what was received.

    Args:
        received: All bytes that came over a connection.
        is_all: Whether the connection was closed after them; else the last response may be cut.

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
        response = _next_response(connection)
        if response is None:
            return
        yield response
        received, _ = connection.trailing_data
        assert not received or connection.their_state is h11.DONE, (
            "more came after the last response"
        )


def _next_response(connection: h11.Connection) -> RawResponse | None:
    """The next whole response, None where it is cut."""
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
                return RawResponse(status, content_type.decode(), body)
            case h11.InformationalResponse() if not connection.trailing_data[0]:
                # Told to send the body, and it never came.
                return None
            case h11.NEED_DATA:
                return None


def check_response(response: RawResponse) -> None:
    """Check that a response is JSON, and an error that of the wire or of the HTTP layer."""
    if response.status in HTTP_LAYER_STATUSES and not response.content_type.startswith(
        "application/"
    ):
        return
    assert response.content_type == "application/json; charset=utf-8", response
    body = json.loads(response.body)
    assert body["ok"] is (response.status < 400), response
    if not body["ok"]:
        error = Error.from_dict(body).error
        assert error.code.isupper(), response
        assert error.message.strip(), response
