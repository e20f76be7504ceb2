"""The spec of the API, for programs that call an API by its spec."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from local_runner.http.encoding import JsonResponse

FILE = Path(__file__).with_name("openapi.json")
"""What `make generate` makes of the files in `openapi/`."""


@functools.cache
def _spec() -> dict[str, object]:
    described: dict[str, object] = json.loads(FILE.read_text(encoding="utf-8"))
    return described


def document(url: str) -> dict[str, object]:
    """The spec as one JSON document of OpenAPI 3.1 that refers to nothing outside of it.

    Args:
        url: Where the operations are, such as `http://localhost:3000`.
    """
    return {**_spec(), "servers": [{"url": url}]}


async def openapi(request: Request) -> Response:
    """`GET /openapi.json`: the operations are where the request found it."""
    return JsonResponse(document(f"http://{request.headers['host']}"))
