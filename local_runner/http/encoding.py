"""JSON on the wire: how request bodies are read and responses are written."""

from __future__ import annotations

import json
from typing import Any, Protocol

from starlette.responses import Response


class WireModel(Protocol):
    """A model of `generated_client`."""

    def to_dict(self) -> dict[str, object]:
        """The JSON object of the model."""


class InvalidJson(Exception):
    """A body that is not JSON."""


class JsonResponse(Response):
    """A model as an HTTP response, with the content type of the wire."""

    media_type = "application/json; charset=utf-8"

    def __init__(
        self, model: WireModel, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Write `model` as compact JSON."""
        text = json.dumps(model.to_dict(), ensure_ascii=False, separators=(",", ":"))
        # A message may quote a lone surrogate of the request, which UTF-8 has no form for.
        super().__init__(text.encode("utf-8", "replace"), status, headers)


def parse_body(raw: bytes) -> dict[str, Any]:
    """The JSON object of a request body; empty where there is no body, or it is no object.

    Raises:
        InvalidJson: If it is not JSON.
    """
    if not raw:
        return {}
    try:
        # Strictly: json would also take UTF-16, a byte order mark and NaN.
        body = json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidJson from error
    return body if isinstance(body, dict) else {}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
