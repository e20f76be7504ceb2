"""JSON on the wire: how request bodies are read and responses are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 64 * 1024
"""How much of a response is handed over before the caller has taken what came before."""


class WireModel(Protocol):
    """A model of `generated_client`."""

    def to_dict(self) -> dict[str, object]:
        """The JSON object of the model."""


class InvalidJson(Exception):
    """A body that is not JSON."""


class JsonResponse(Response):
    """An object as an HTTP response, with the content type of the wire."""

    media_type = "application/json; charset=utf-8"

    def __init__(
        self,
        content: WireModel | Mapping[str, object] | bytes,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Write `content` as compact JSON; bytes are JSON already."""
        super().__init__(
            content if isinstance(content, bytes) else encode(content), status, headers
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it piece by piece, so that one who does not read it costs one piece."""
        if len(self.body) <= PIECE_BYTES:
            await super().__call__(scope, receive, send)
            return
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        for start in range(0, len(self.body), PIECE_BYTES):
            piece, end = self.body[start : start + PIECE_BYTES], start + PIECE_BYTES
            more = end < len(self.body)
            await send({"type": "http.response.body", "body": bytes(piece), "more_body": more})


def encode(content: WireModel | Mapping[str, object]) -> bytes:
    """An object as compact JSON."""
    value = content if isinstance(content, Mapping) else content.to_dict()
    try:
        return orjson.dumps(value)
    except TypeError:
        # A message may quote half a surrogate pair of the request, which UTF-8 has no form for.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def parse_body(raw: bytes) -> dict[str, Any]:
    """The JSON object of a request body; empty if there is no body, or it is no object.

    Raises:
        InvalidJson: If it is not JSON.
    """
    if not raw:
        return {}
    try:
        # Not by orjson, which refuses half a surrogate pair; the wire has an error for that.
        # Strictly: json would also take UTF-16, a byte order mark and NaN.
        body = json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidJson from error
    return body if isinstance(body, dict) else {}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
