"""What the local runner adds to the wire, as `openapi/local-runner.yaml` has it: the two lists."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from local_runner.http.encoding import PIECE_BYTES, JsonResponse
from local_runner.http.large import LargeResponses
from local_runner.jobs.allowlist import Refused
from local_runner.jobs.listing import JobList, JobQuery, ScriptState
from local_runner.jobs.reader import Reader
from local_runner.jobs.record import JobRecord, Status

DEFAULT_JOBS = 50
MAX_JOBS = 500
"""How many jobs one response holds."""

PARAMETERS = ("limit", "before", "status", "scriptId")
"""The query parameters of `GET /jobs`."""


class Lists:
    """The handlers of the lists, for one runner."""

    def __init__(self, reader: Reader, large: LargeResponses) -> None:
        """Respond with what `reader` finds; `large` makes long lists."""
        self._reader = reader
        self._large = large

    async def jobs(self, request: Request) -> Response:
        """`GET /jobs`."""
        listed = await self._reader.jobs(_job_query(request))
        size = sum(record.args_size for record in listed.jobs)
        if size <= PIECE_BYTES:
            return JsonResponse(_job_list(listed))
        return self._large.response(
            request.url.path, size, lambda: self._large.encoded(_job_list(listed), size)
        )

    async def scripts(self, _: Request) -> Response:
        """`GET /scripts`."""
        scripts = [_script(state) for state in await self._reader.scripts()]
        agents = self._reader.agents()
        listed = None if agents is None else [dataclasses.asdict(agent) for agent in agents]
        return JsonResponse({"ok": True, "scripts": scripts, "agents": listed})


def _job_query(request: Request) -> JobQuery:
    """The query parameters, checked: unlike those of the wire they are refused, not overlooked."""
    given = _parameters(request)
    limit = given.get("limit", str(DEFAULT_JOBS))
    if not (re.fullmatch("[0-9]{1,9}", limit) and 0 < int(limit) <= MAX_JOBS):
        raise Refused("INVALID_ARGS", f"limit must be a number from 1 to {MAX_JOBS}")
    status, script_id = given.get("status"), given.get("scriptId")
    if status is not None and status not in list(Status):
        raise Refused("INVALID_ARGS", f"status must be one of {', '.join(Status)}")
    if script_id == "":
        raise Refused("INVALID_ARGS", "scriptId is empty: leave it out for the jobs of all scripts")
    return JobQuery(int(limit), given.get("before"), status, script_id)


def _parameters(request: Request) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            raise Refused("INVALID_ARGS", f"unknown parameter {name[:100]}: it may be {known}")
        if name in given:
            raise Refused("INVALID_ARGS", f"{name} is given more than once: send it once")
        given[name] = value
    return given


def _job_list(listed: JobList) -> dict[str, Any]:
    jobs = [_listed_job(record) for record in listed.jobs]
    return {"ok": True, "jobs": jobs, "next": listed.next_before}


def _listed_job(record: JobRecord) -> dict[str, Any]:
    """A job as `getJob` has it, with its arguments in the place of the previews."""
    # Not by way of the generated model, which takes five times as long: a list has 500 of them.
    return {
        "ok": True,
        "jobId": record.job_id,
        "scriptId": record.script_id,
        "args": record.args,
        "status": record.status,
        "code": record.code,
        "startedAt": _time(record.started_ms),
        "endedAt": _time(record.ended_ms),
        "durationMs": record.duration_ms,
        "createdAt": _time(record.created_ms),
        "mode": record.mode,
        "stdoutRef": record.log_name("stdout"),
        "stderrRef": record.log_name("stderr"),
        "stdoutSize": record.stdout_size,
        "stderrSize": record.stderr_size,
        "stdoutTruncated": record.stdout_truncated,
        "stderrTruncated": record.stderr_truncated,
        # The name of an agent; what follows tells one start of it from another.
        "worker": record.worker and record.worker.partition(".")[0],
    }


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _script(state: ScriptState) -> dict[str, Any]:
    script = state.script
    return {
        "id": script.id,
        "description": script.description,
        "mode": state.mode,
        "timeoutSec": script.timeout_sec,
        "maxConcurrent": script.max_concurrent,
        "args": {
            "maxItems": script.args.max_items,
            "itemPattern": script.args.item_pattern,
            "itemMaxLength": script.args.item_max_length,
        },
        "labels": script.labels,
        "running": state.running,
        "queued": state.queued,
        "agents": state.able,
    }
