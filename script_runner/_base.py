"""What the two clients share: all but the sending and the waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from generated_client.models import Job, RunRequest, RunRequestMode
from script_runner._address import address_of
from script_runner._call import Calls
from script_runner._explain import PYTHON_HINTS, Hints
from script_runner._settings import DEFAULT_URL, Settings
from script_runner._validation import path_argument, seconds, stream, string, strings, whole_number
from script_runner.logs import (
    STREAMS,
    LineIndexes,
    Log,
    LogLines,
    Reading,
    Stream,
    read_lines,
    read_output,
)

if TYPE_CHECKING:
    from script_runner._waiting import Wait

DEFAULTS = Settings()

_FROM_THE_START: Mapping[Stream, int] = dict.fromkeys(STREAMS, 0)


class BaseRunner:
    """A script-runner at one URL.

    Attributes:
        url: Where it is, without credentials.
        settings: Its times and limits.
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
        """Prepare it; nothing is sent.

        Args:
            url: `http://host:port`, with a prefix (`/tools`) if a proxy has one.
            token: The runner's token, if it wants one; may stand in the URL as well
                (`http://any:TOKEN@host:port`).
            timeout: How many seconds the whole of a call may take, 30 by default.
            settings: All other times and limits.
            hints: What messages of errors tell their reader to use.

        Raises:
            InvalidInput: If it is not an http or https URL, or the proxy or the certificates that
                the environment names cannot be used.
        """
        self._address = address_of(url, hints.url, token)
        self.url = self._address.shown
        self.settings = settings
        limit = settings.response_seconds if timeout is None else timeout
        self._calls = Calls(self._address, settings, hints, limit)
        self._indexes = LineIndexes(settings)

    def __repr__(self) -> str:
        """The URL, without credentials."""
        return f"{type(self).__name__}({self.url!r})"

    def _run_request(self, script_id: str, args: Sequence[str], mode: RunRequestMode) -> RunRequest:
        return RunRequest(string("script_id", script_id), strings("args", args), mode)

    def _lines(self, job_id: str, name: Stream, offset: int, limit: int) -> Reading[LogLines]:
        log = self._log(job_id, name)
        offset = whole_number("offset", offset, least=0)
        limit = whole_number("limit", limit, least=1)
        return read_lines(log, self._indexes.of(job_id, log.stream), offset, limit)

    def _output(self, job: Job, name: Stream) -> Reading[str]:
        return read_output(self._log(job.job_id, name), job)

    def _log(self, job_id: str, name: Stream) -> Log:
        path_argument("job_id", job_id)
        checked = stream("stream", name)
        shown = f"the {checked} log of job {self._calls.quoted(job_id)} at {self.url}"
        return Log(checked, shown, self.settings.page_bytes)

    def _wait(
        self,
        job_id: str,
        timeout: float | None,
        max_lines: int | None,
        read_from: Mapping[Stream, int] | None,
    ) -> Wait:
        from script_runner._waiting import Wait

        limit = self.settings.wait_seconds if timeout is None else timeout
        return Wait(
            path_argument("job_id", job_id),
            seconds("timeout", limit),
            self.settings,
            self.url,
            self._calls.hints.go_on,
            self._calls.quoted,
            max_lines,
            _FROM_THE_START if read_from is None else read_from,
        )
