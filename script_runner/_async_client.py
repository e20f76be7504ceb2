"""`AsyncScriptRunner`, the verbs of `ScriptRunner` for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, Job, LogPage
from script_runner._async_http import AsyncHttpClient
from script_runner._base import DEFAULTS, BaseRunner
from script_runner._call import AnyOperation, ModelT, Operation
from script_runner._explain import FAILURES, PYTHON_HINTS, Hints
from script_runner._fork import importing
from script_runner._settings import DEFAULT_URL, Settings
from script_runner.logs import LogLines, PageRequest, Reading, Stream

if TYPE_CHECKING:
    from script_runner._taking import OnLine, OnNotice, OnPoll, OnProgress, OnText

T = TypeVar("T")
KindT = TypeVar("KindT")


class AsyncScriptRunner(BaseRunner):
    """A script-runner at one URL, for asyncio, with connections that stay open between calls.

        async with AsyncScriptRunner("http://localhost:3000") as runner:
            job = await runner.wait(await runner.start("count", "6"), timeout=60)

    To be used in one event loop. What each verb takes, returns and raises is that of
    `ScriptRunner`; the functions given to `wait` may be coroutine functions.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout: float | None = None,
        settings: Settings = DEFAULTS,
        hints: Hints = PYTHON_HINTS,
    ) -> None:
        """Prepare it; nothing is sent. See `BaseRunner`."""
        super().__init__(url, token=token, timeout=timeout, settings=settings, hints=hints)
        self._http = AsyncHttpClient(self._address, settings)

    async def __aenter__(self) -> Self:
        """Close the connections at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        await self._http.aclose()

    # -- the verbs

    async def start(self, script_id: str, *args: str) -> str:
        """Start a script and do not wait for its end; returns the job id."""
        body = self._run_request(script_id, args, "async")
        return (await self.call(run_script, body=body, returns=AcceptedJob)).job_id

    async def run(self, script_id: str, *args: str, timeout: float | None = None) -> Job:
        """Run a script to its end."""
        seconds = self.settings.sync_run_seconds if timeout is None else timeout
        body = self._run_request(script_id, args, "sync")
        return await self.call(run_script, body=body, returns=Job, timeout=seconds)

    async def status(self, job_id: str) -> Job:
        """The job as it is now."""
        return await self.call(get_job, job_id)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job, or tell its script to end."""
        return await self.call(cancel_job, job_id)

    async def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        on_line: OnLine | None = None,
        on_progress: OnProgress | None = None,
        on_poll: OnPoll | None = None,
        on_text: OnText | None = None,
        on_notice: OnNotice | None = None,
        max_lines: int | None = None,
        read_from: Mapping[Stream, int] | None = None,
    ) -> Job:
        """Wait until a job has ended."""
        # Here, for most processes never wait.
        with importing:
            from script_runner._taking import Listener, Poll, take_async
            from script_runner._waiting import GetJob

        async def call(step: Poll) -> Job | LogPage:
            if isinstance(step, GetJob):
                return await self.call(get_job, job_id, timeout=step.timeout)
            return await self._page(job_id, step)

        listener = Listener(on_line, on_progress, on_poll, on_text, on_notice)
        wait = self._wait(job_id, timeout, max_lines, read_from)
        steps = wait.steps(with_output=listener.wants_output)
        return await take_async(steps, listener, call, asyncio.sleep)

    async def lines(
        self, job_id: str, stream: Stream = "stdout", *, offset: int = 0, limit: int = 100
    ) -> LogLines:
        """Lines of a job's log."""
        return await self._read(job_id, self._lines(job_id, stream, offset, limit))

    async def output(self, job: Job, stream: Stream = "stdout") -> str:
        """The whole of what a job wrote to a stream, as far as the runner kept it."""
        return await self._read(job.job_id, self._output(job, stream))

    # -- calls

    @overload
    async def call(
        self,
        operation: Operation[ModelT],
        *arguments: object,
        timeout: float | None = None,
        **options: Any,
    ) -> ModelT: ...

    @overload
    async def call(
        self,
        operation: AnyOperation,
        *arguments: object,
        returns: type[KindT],
        timeout: float | None = None,
        **options: Any,
    ) -> KindT: ...

    async def call(
        self,
        operation: AnyOperation,
        *arguments: object,
        returns: type[Any] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Call an operation of the API once; it is never repeated."""
        call = self._calls.begin(operation, arguments, options, timeout)
        client = call.client(self._http)
        try:
            response = await operation.asyncio_detailed(*arguments, client=client, **options)
            return call.checked(response, returns)
        except FAILURES as failure:
            error = call.explained(failure)
        # Outside of `except`: else the error would hold the failure, which may show credentials.
        raise error

    async def _page(self, job_id: str, request: PageRequest) -> LogPage:
        return await self.call(
            get_job_logs,
            job_id,
            stream=request.stream,
            offset=request.offset,
            limit=request.limit,
            timeout=request.timeout,
        )

    async def _read(self, job_id: str, reading: Reading[T]) -> T:
        # Here, for most processes read no log.
        with importing:
            from script_runner._reading import read_async

        return await read_async(reading, partial(self._page, job_id))
