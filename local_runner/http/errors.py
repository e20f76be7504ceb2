"""Error responses, and which exception becomes which."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from generated_client.models import Error, ErrorDetail
from local_runner import log
from local_runner.http.encoding import InvalidJson, JsonResponse
from local_runner.http.request_log import logged_path
from local_runner.processes.shortage import OutOfResources, is_shortage


def error_response(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JsonResponse:
    """An error of the wire.

    Args:
        status: The HTTP status.
        code: For machines.
        message: A sentence that says what to do, for people.
        headers: More headers.
    """
    return JsonResponse(Error(ok=False, error=ErrorDetail(code, message)), status, headers)


class Coded(Protocol):
    """An exception that has the code of its error, such as `Refused`."""

    code: str


async def refused(_: Request, error: Exception) -> Response:
    """A run, a job or a parameter that is not accepted."""
    code = cast(Coded, error).code
    return error_response(404 if code == "JOB_NOT_FOUND" else 400, code, str(error))


async def unavailable(_: Request, error: Exception) -> Response:
    """What the runner cannot do now, because it is stopping."""
    return error_response(503, "UNAVAILABLE", str(error))


async def store_failed(_: Request, error: Exception) -> Response:
    """A history that cannot be read or written."""
    log.event("error", message=str(error))
    return error_response(500, "INTERNAL_ERROR", str(error))


async def _out_of_resources(request: Request, error: Exception) -> Response:
    log.event("error", message=f"{request.method} {logged_path(request.scope)}: {error}")
    message = f"the runner is out of resources ({error}): try again"
    return error_response(503, "UNAVAILABLE", message)


async def _system_failed(request: Request, error: Exception) -> Response:
    failure = cast(OSError, error)
    if is_shortage(failure):
        return await _out_of_resources(request, OutOfResources(failure))
    log.event("error", message=f"{request.method} {logged_path(request.scope)}: {failure}")
    name = Path(str(failure.filename or "")).name
    message = f"the runner failed: {failure.strerror}{f' ({name})' if name else ''}"
    return error_response(500, "INTERNAL_ERROR", message)


async def _invalid_json(*_: object) -> Response:
    # A 500 on the wire, though the mistake is the caller's.
    return error_response(500, "INTERNAL_ERROR", "invalid json body")


async def _nobody_listens(*_: object) -> Response:
    return Response(status_code=400)


async def _no_such_route(request: Request, _: Exception) -> Response:
    path = logged_path(request.scope)[:200]
    return error_response(404, "NOT_FOUND", f"route not found: {request.method} {path}")


async def _failed(*_: object) -> Response:
    # The server logs the traceback.
    return error_response(500, "INTERNAL_ERROR", "the runner failed to respond")


EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    OutOfResources: _out_of_resources,
    OSError: _system_failed,
    InvalidJson: _invalid_json,
    ClientDisconnect: _nobody_listens,
    HTTPException: _no_such_route,
    Exception: _failed,
}
"""The handlers of exceptions that any server of this wire has, whatever runs its jobs."""
