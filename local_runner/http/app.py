"""The four operations and `/healthz`, on the wire of `openapi/script-runner.yaml`."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_runner import log
from local_runner.config import Config
from local_runner.http.access import BodyTooLarge, Guard, refuse_large_body
from local_runner.http.responses import (
    JsonResponse,
    accepted_answer,
    error_answer,
    job_answer,
    page_answer,
)
from local_runner.jobs.allowlist import Refused
from local_runner.jobs.record import STREAMS, JobRecord
from local_runner.jobs.scheduler import Runner, Unavailable
from local_runner.processes.shortage import OutOfResources, is_shortage
from local_runner.storage.history import StoreError

DEFAULT_LIMIT = 65536
MAX_LIMIT = 1024 * 1024
"""The page sizes of the wire, in bytes."""

MAX_OFFSET = 2**63 - 1
"""The largest offset that an answer can hold (`format: int64`)."""

MAX_PREFIXED_DIGITS = 256
"""From so many digits on a hexadecimal number is infinite in ECMAScript, as it is to us."""


class InvalidJson(Exception):
    """A body that is not JSON."""


class _Api:
    """The handlers, for one runner."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def run_script(self, request: Request) -> Response:
        body = _parse_body(await request.body())
        job = await self._runner.run(body.get("scriptId"), body.get("args", []), body.get("mode"))
        if job.record.mode == "async":
            return JsonResponse(accepted_answer(job), 202)
        return JsonResponse(job_answer(await self._runner.ended(job)))

    async def get_job(self, request: Request) -> Response:
        return JsonResponse(job_answer(await self._job(request)))

    async def get_job_logs(self, request: Request) -> Response:
        record = await self._job(request)
        stream = _query(request, "stream") or "stdout"
        if stream not in STREAMS:
            raise Refused("INVALID_ARGS", "stream must be stdout or stderr")
        offset = _integer(_query(request, "offset"), least=0, default=0)
        limit = _integer(_query(request, "limit"), least=1, default=DEFAULT_LIMIT)
        page = self._runner.page(record, stream, offset, min(limit, MAX_LIMIT))
        return JsonResponse(page_answer(record, stream, page))

    async def cancel_job(self, request: Request) -> Response:
        job_id = request.path_params["job_id"]
        return JsonResponse(job_answer(_found(job_id, await self._runner.cancel(job_id))))

    async def healthz(self, _: Request) -> Response:
        return Response(b'{"ok":true}', media_type=JsonResponse.media_type)

    async def _job(self, request: Request) -> JobRecord:
        job_id = request.path_params["job_id"]
        return _found(job_id, await self._runner.job(job_id))


def application(config: Config, runner: Runner, token: str | None) -> ASGIApp:
    """The ASGI application of a runner.

    Args:
        config: Whom to serve.
        runner: What runs the jobs.
        token: The token every request must carry; None for no token.
    """
    api = _Api(runner)
    app = Starlette(
        routes=[
            _route("POST", "/run", api.run_script),
            _route("GET", "/jobs/{job_id}", api.get_job),
            _route("GET", "/jobs/{job_id}/logs", api.get_job_logs),
            _route("POST", "/jobs/{job_id}/cancel", api.cancel_job),
            _route("GET", "/healthz", api.healthz),
        ],
        middleware=_cors(config.server.allowed_origins),
        exception_handlers={
            Refused: _refused,
            Unavailable: _unavailable,
            OutOfResources: _out_of_resources,
            BodyTooLarge: refuse_large_body,
            StoreError: _store_failed,
            OSError: _system_failed,
            InvalidJson: _invalid_json,
            ClientDisconnect: _nobody_listens,
            HTTPException: _no_such_route,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return _AccessLog(Guard(app, config.server, token))


def _cors(origins: Sequence[str]) -> list[Middleware]:
    """What lets the pages of some origins read the answers; nothing where there is none."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    ]


def _route(method: str, path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    route = Route(path, handler, methods=[method])
    # Starlette adds HEAD to GET; the wire has no such method.
    route.methods = {method}
    return route


class _AccessLog:
    """ASGI middleware that logs a line a request: no query, no header, nothing that is secret."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        status = 0
        # Routed as it was sent: an escaped slash is a part of a job id, not of a route.
        scope = {**scope, "path": scope["raw_path"].decode("latin-1")}

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            log.event(
                "request",
                method=scope["method"],
                path=_logged_path(scope),
                status=status,
                duration_ms=round((time.monotonic() - begun) * 1000),
                client=(scope.get("client") or ("unknown",))[0],
            )


def _logged_path(scope: Scope) -> str:
    # As it was sent: percent-encoded, so that it cannot forge a line of the log.
    return ascii(scope["raw_path"].decode("latin-1"))[1:-1]


def _parse_body(raw: bytes) -> dict[str, Any]:
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


def _found(job_id: str, record: JobRecord | None) -> JobRecord:
    if record is None:
        raise Refused("JOB_NOT_FOUND", f"job not found: {job_id[:200]}")
    return record


def _query(request: Request, name: str) -> str:
    """The first value of a query parameter, `""` where there is none."""
    values = request.query_params.getlist(name)
    return values[0] if values else ""


_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_PREFIXED = re.compile(r"0x[0-9a-f]+|0o[0-7]+|0b[01]+", re.ASCII | re.IGNORECASE)


def _integer(text: str, *, least: int, default: int) -> int:
    """A number as ECMAScript reads it, or the default where it is none or too small."""
    text = text.strip()
    number = math.nan
    if _PREFIXED.fullmatch(text):
        number = float(int(text, 0)) if len(text) < MAX_PREFIXED_DIGITS else math.inf
    elif _DECIMAL.fullmatch(text):
        number = float(text)
    if not math.isfinite(number) or number != int(number) or number < least:
        return default
    return min(int(number), MAX_OFFSET)


async def _refused(_: Request, error: Exception) -> Response:
    refusal = cast(Refused, error)
    status = 404 if refusal.code == "JOB_NOT_FOUND" else 400
    return JsonResponse(error_answer(refusal.code, str(refusal)), status)


async def _unavailable(_: Request, error: Exception) -> Response:
    return JsonResponse(error_answer("UNAVAILABLE", str(error)), 503)


async def _store_failed(_: Request, error: Exception) -> Response:
    log.event("error", message=str(error))
    return JsonResponse(error_answer("INTERNAL_ERROR", str(error)), 500)


async def _out_of_resources(request: Request, error: Exception) -> Response:
    log.event("error", message=f"{request.method} {_logged_path(request.scope)}: {error}")
    message = f"the runner is out of resources ({error}): try again"
    return JsonResponse(error_answer("UNAVAILABLE", message), 503)


async def _system_failed(request: Request, error: Exception) -> Response:
    failure = cast(OSError, error)
    if is_shortage(failure):
        return await _out_of_resources(request, OutOfResources(failure))
    log.event("error", message=f"{request.method} {_logged_path(request.scope)}: {failure}")
    name = Path(str(failure.filename or "")).name
    message = f"the runner failed: {failure.strerror}{f' ({name})' if name else ''}"
    return JsonResponse(error_answer("INTERNAL_ERROR", message), 500)


async def _invalid_json(*_: object) -> Response:
    # A 500 on the wire, though the mistake is the caller's.
    return JsonResponse(error_answer("INTERNAL_ERROR", "invalid json body"), 500)


async def _nobody_listens(*_: object) -> Response:
    return Response(status_code=400)


async def _no_such_route(request: Request, _: Exception) -> Response:
    path = _logged_path(request.scope)[:200]
    message = f"route not found: {request.method} {path}"
    return JsonResponse(error_answer("NOT_FOUND", message), 404)


async def _failed(*_: object) -> Response:
    # The server logs the traceback.
    message = "the runner failed to answer"
    return JsonResponse(error_answer("INTERNAL_ERROR", message), 500)
