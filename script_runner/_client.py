"""`ScriptRunner`, a script-runner at one URL."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, Job, LogPage
from script_runner._base import DEFAULTS, BaseRunner
from script_runner._call import AnyOperation, ModelT, Operation
from script_runner._explain import FAILURES, PYTHON_HINTS, Hints
from script_runner._fork import importing
from script_runner._http import HttpClient
from script_runner._settings import DEFAULT_URL, Settings
from script_runner.errors import RunnerUnreachable
from script_runner.logs import LogLines, PageRequest, Reading, Stream

if TYPE_CHECKING:
    from script_runner._taking import OnLine, OnNotice, OnPoll, OnProgress, OnText

T = TypeVar("T")
KindT = TypeVar("KindT")


class ScriptRunner(BaseRunner):
    """A script-runner at one URL, with connections that stay open between calls.

    Safe to use from many threads at once, and after a fork.

        with ScriptRunner("http://localhost:3000") as runner:
            job = runner.wait(runner.start("count", "6"), timeout=60)
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
        self._http = HttpClient(self._address, settings)
        self._broken_off: str | None = None
        # One that `connect` has dropped closes its connections when the last call has ended.
        weakref.finalize(self, self._http.close)

    def __enter__(self) -> Self:
        """Close the connections at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        self._http.close()

    def break_off(self, reason: str) -> None:
        """End every call and wait of any thread with an error, and begin no more.

        Args:
            reason: Why; a sentence for the message.
        """
        self._broken_off = reason
        self._http.break_off()

    def _check_not_broken_off(self) -> None:
        if self._broken_off is not None:
            raise RunnerUnreachable(f"{self.url}: {self._broken_off}")

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._check_not_broken_off()

    # -- the verbs

    def start(self, script_id: str, *args: str) -> str:
        """Start a script and do not wait for its end.

        Args:
            script_id: The id of an allow-listed script.
            args: Its arguments.

        Returns:
            The id of the job.

        Raises:
            ScriptRunnerError: See `call`.
        """
        body = self._run_request(script_id, args, "async")
        return self.call(run_script, body=body, returns=AcceptedJob).job_id

    def run(self, script_id: str, *args: str, timeout: float | None = None) -> Job:
        """Run a script to its end. A script that fails is a result: see `status` and `code`.

        Args:
            script_id: The id of an allow-listed script.
            args: Its arguments.
            timeout: How many seconds it may take, 300 by default.

        Raises:
            ScriptRunnerError: See `call`.
        """
        seconds = self.settings.sync_run_seconds if timeout is None else timeout
        body = self._run_request(script_id, args, "sync")
        return self.call(run_script, body=body, returns=Job, timeout=seconds)

    def status(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            ScriptRunnerError: See `call`.
        """
        return self.call(get_job, job_id)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job, or tell its script to end.

        Returns:
            The job: canceled, or running until its script has ended, or as it had ended before.

        Raises:
            ScriptRunnerError: See `call`.
        """
        return self.call(cancel_job, job_id)

    def wait(
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
        """Wait until a job has ended.

        Once the job was seen, a runner that is away, a response that is cut off or a log that
        cannot be read does not end the wait.

        Args:
            job_id: The job.
            timeout: The longest wait in seconds, 300 by default; 0 polls once. A poll may end up
                to `Settings.last_poll_seconds` later.
            on_line: Called with each new line of the job's output and the name of its stream. If
                the timeout is over before the output was read, with the lines up to then. A line
                of more than `Settings.max_open_line` characters is shortened; of one that is
                written over (`\\r`) such that only its last state remains.
            on_progress: Called with the last percentage in what the script has newly printed.
            on_poll: Called with the job after each poll.
            on_text: Called with what the job has newly written to a stream, exactly and whole,
                and the name of the stream.
            on_notice: Called with sentences about the output, such as that the runner does not
                respond; without it they come as lines.
            max_lines: The most lines of each stream that are passed on; None for all.
            read_from: The byte from which each stream is read; one that is not named is not read.
                Both from their start by default.

        Returns:
            The ended job.

        Raises:
            InvalidInput: If the timeout is no number of seconds.
            WaitTimedOut: If the job has not ended in time; it goes on.
            ScriptRunnerError: See `call`.
        """
        # Here, for most processes never wait.
        with importing:
            from script_runner._taking import Listener, Poll, take
            from script_runner._waiting import GetJob

        def call(step: Poll) -> Job | LogPage:
            if isinstance(step, GetJob):
                return self.call(get_job, job_id, timeout=step.timeout)
            return self._page(job_id, step)

        listener = Listener(on_line, on_progress, on_poll, on_text, on_notice)
        wait = self._wait(job_id, timeout, max_lines, read_from)
        steps = wait.steps(with_output=listener.wants_output)
        return take(steps, listener, call, self._sleep)

    def lines(
        self, job_id: str, stream: Stream = "stdout", *, offset: int = 0, limit: int = 100
    ) -> LogLines:
        """Lines of a job's log. What was counted once is not read again: a later page is one call.

        Calls that go on where the last one ended, such as those of a loop over a whole log, take
        known lines from pages that were read for all of them, up to `Settings.walk_seconds` ago.

        Args:
            job_id: The job.
            stream: `stdout` or `stderr`.
            offset: The first line wanted, from 0; past the end there are none.
            limit: The most lines wanted.

        Raises:
            InvalidInput: If there is no such stream, offset or limit.
            ScriptRunnerError: See `call`; InvalidResponse also if the pages of the log do not fit
                together, or it has become shorter.
        """
        return self._read(job_id, self._lines(job_id, stream, offset, limit))

    def output(self, job: Job, stream: Stream = "stdout") -> str:
        """The whole of what a job wrote to a stream, as far as the runner kept it.

        Args:
            job: An ended job.
            stream: `stdout` or `stderr`.

        Raises:
            InvalidInput: If there is no such stream.
            ScriptRunnerError: See `call`.
        """
        return self._read(job.job_id, self._output(job, stream))

    # -- calls

    @overload
    def call(
        self,
        operation: Operation[ModelT],
        *arguments: object,
        timeout: float | None = None,
        **options: Any,
    ) -> ModelT: ...

    @overload
    def call(
        self,
        operation: AnyOperation,
        *arguments: object,
        returns: type[KindT],
        timeout: float | None = None,
        **options: Any,
    ) -> KindT: ...

    def call(
        self,
        operation: AnyOperation,
        *arguments: object,
        returns: type[Any] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Call an operation of the API once; it is never repeated.

        Args:
            operation: A module of `generated_client.api.jobs`: `run_script`, `get_job`,
                `get_job_logs` or `cancel_job`.
            arguments: What the operation takes by position, such as the job id.
            returns: The model wanted, for an operation that has several.
            timeout: How many seconds the whole of the call may take: finding the host, connecting,
                the request and the response.
            options: What the operation takes by name, such as `body`.

        Returns:
            The response, a model of `generated_client.models`, each field of its type, and for
            the job and stream that were asked for.

        Raises:
            InvalidInput: If the arguments cannot be sent, or the timeout is too long.
            RunnerUnreachable: If no response came.
            RequestTimedOut: If the response was not whole within the timeout.
            RequestRejected: If the response was an HTTP error.
            InvalidResponse: If the response was not one of the API, or not for what was asked.
        """
        self._check_not_broken_off()
        call = self._calls.begin(operation, arguments, options, timeout)
        client = call.client(self._http)
        try:
            response = operation.sync_detailed(*arguments, client=client, **options)
            return call.checked(response, returns)
        except FAILURES as failure:
            error = call.explained(failure)
        self._check_not_broken_off()
        # Outside of `except`: else the error would hold the failure, which may show credentials.
        raise error

    def _page(self, job_id: str, request: PageRequest) -> LogPage:
        return self.call(
            get_job_logs,
            job_id,
            stream=request.stream,
            offset=request.offset,
            limit=request.limit,
            timeout=request.timeout,
        )

    def _read(self, job_id: str, reading: Reading[T]) -> T:
        # Here, for most processes read no log.
        with importing:
            from script_runner._reading import read

        return read(reading, partial(self._page, job_id))
