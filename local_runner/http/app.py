"""The operations of the wire of `openapi/script-runner.yaml`, and `/healthz`."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from local_runner.config import Config
from local_runner.http import errors
from local_runner.http.access import Guard
from local_runner.http.bodies import Bodies, BodyTooLarge, refuse_large_body
from local_runner.http.encoding import PIECE_BYTES, JsonResponse, parse_body
from local_runner.http.large import LargeResponses
from local_runner.http.lists import Lists
from local_runner.http.openapi import openapi
from local_runner.http.page import page_routes
from local_runner.http.protocol import BoundedProtocol
from local_runner.http.query import integer_of, text_of
from local_runner.http.request_log import RequestLog, add_to_line
from local_runner.http.responses import accepted_job, job_model, log_page
from local_runner.http.routing import RawPath, route
from local_runner.jobs.allowlist import Refused
from local_runner.jobs.record import STREAMS, JobRecord
from local_runner.jobs.scheduler import Scheduler, Unavailable
from local_runner.storage.history import StoreError

DEFAULT_LIMIT = 65536
MAX_LIMIT = 1024 * 1024
"""The page sizes of the wire, in bytes."""


class _Api:
    """The handlers, for one runner."""

    def __init__(self, scheduler: Scheduler, large: LargeResponses) -> None:
        self._scheduler = scheduler
        self._reader = scheduler.reader
        self._large = large

    async def run_script(self, request: Request) -> Response:
        body = parse_body(await request.body())
        job = await self._scheduler.run(
            body.get("scriptId"), body.get("args", []), body.get("mode")
        )
        add_to_line(request, job_id=job.record.job_id, script_id=job.record.script_id)
        if job.record.mode == "async":
            return JsonResponse(accepted_job(job), 202)
        return self._job_response(await self._scheduler.ended(job))

    async def get_job(self, request: Request) -> Response:
        return self._job_response(await self._job(request))

    async def get_job_logs(self, request: Request) -> Response:
        record = await self._job(request)
        stream = text_of(request, "stream") or "stdout"
        if stream not in STREAMS:
            raise Refused("INVALID_ARGS", "stream must be stdout or stderr")
        offset = integer_of(request, "offset", least=0, default=0)
        limit = integer_of(request, "limit", least=1, default=DEFAULT_LIMIT)
        wanted = min(limit, MAX_LIMIT)

        async def make() -> bytes:
            # Now: a job that ends while the page is read may print more until then.
            had_ended = record.has_ended
            page = await self._reader.page(record, stream, offset, wanted)
            model = log_page(record, stream, page, had_ended=had_ended)
            return await self._large.encoded(model, len(page.data))

        # Before there is room for it: what waits for the disk of one log takes none from others.
        await self._reader.flush(record.job_id)
        if wanted <= PIECE_BYTES:
            return JsonResponse(await make())
        return self._large.response(record.log_name(stream), wanted, make)

    async def cancel_job(self, request: Request) -> Response:
        # Some send a body; one that is read does not end the connection.
        await request.body()
        job_id = request.path_params["job_id"]
        return self._job_response(_found(job_id, await self._scheduler.cancel(job_id)))

    async def healthz(self, _: Request) -> Response:
        return Response(b'{"ok":true}', media_type=JsonResponse.media_type)

    def _job_response(self, record: JobRecord) -> Response:
        size = len(record.stdout_preview) + len(record.stderr_preview)
        if size <= PIECE_BYTES:
            return JsonResponse(job_model(record))
        return self._large.response(
            record.job_id, size, lambda: self._large.encoded(job_model(record), size)
        )

    async def _job(self, request: Request) -> JobRecord:
        job_id = request.path_params["job_id"]
        return _found(job_id, await self._reader.job(job_id))


def application(config: Config, scheduler: Scheduler, token: str | None) -> ASGIApp:
    """The ASGI application of a runner.

    Args:
        config: Whom to serve.
        scheduler: What runs the jobs.
        token: The token every request must carry; None for no token.
    """
    large = LargeResponses(BoundedProtocol.drop_slowest)
    api, lists = _Api(scheduler, large), Lists(scheduler.reader, large)
    app = Starlette(
        routes=[
            route("POST", "/run", api.run_script),
            route("GET", "/scripts", lists.scripts),
            route("GET", "/jobs", lists.jobs),
            route("GET", "/jobs/{job_id}", api.get_job),
            route("GET", "/jobs/{job_id}/logs", api.get_job_logs),
            route("POST", "/jobs/{job_id}/cancel", api.cancel_job),
            route("GET", "/healthz", api.healthz),
            route("GET", "/openapi.json", openapi),
            *page_routes(),
        ],
        middleware=_cors(config.server.allowed_origins),
        exception_handlers={
            **errors.EXCEPTION_HANDLERS,
            Refused: errors.refused,
            Unavailable: errors.unavailable,
            StoreError: errors.store_failed,
            BodyTooLarge: refuse_large_body,
        },
    )
    app.router.redirect_slashes = False
    return RawPath(RequestLog(Bodies(Guard(app, config.server, token))))


def _cors(origins: Sequence[str]) -> list[Middleware]:
    """What lets the pages of some origins read the responses; nothing if there is none."""
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


def _found(job_id: str, record: JobRecord | None) -> JobRecord:
    if record is None:
        raise Refused("JOB_NOT_FOUND", f"job not found: {job_id[:200]}")
    return record
