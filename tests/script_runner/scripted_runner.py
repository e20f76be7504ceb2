"""A runner whose one job a test lets go through states, poll by poll."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.script_runner.documented import documented
from tests.script_runner.page_server import page_for, wanted_page
from tests.support.misbehaving_server import Action, MisbehavingServer, Request, Step, json_response

JOB_ID = "job_1"


@dataclass(frozen=True)
class State:
    """What a poll of the job finds.

    Attributes:
        status: The word of the wire.
        stdout: What the job has written so far.
        stderr: The same for stderr.
        ended_at: When it ended.
    """

    status: str = "running"
    stdout: bytes = b""
    stderr: bytes = b""
    ended_at: str | None = None


class ScriptedRunner:
    """Responds to the first poll with the first state, and so on; the last state stays.

    Attributes:
        polls: How often the job was polled, refusals included.
        log_requests: How many pages were asked for.
        bytes_sent: How many bytes of logs were in them.
    """

    def __init__(self, states: Sequence[State | Action | bytes], *, closes: bool = False) -> None:
        """Take the states; an action or a response in place of one is what a poll gets.

        Args:
            states: See above.
            closes: Whether the connection is closed after a response in place of a state.
        """
        self.polls = 0
        self.log_requests = 0
        self.bytes_sent = 0
        self._closes = closes
        self._states = states
        self._last = State()

    @contextlib.contextmanager
    def listening(self) -> Iterator[MisbehavingServer]:
        """Serve."""
        with MisbehavingServer(self._respond) as server:
            yield server

    def _respond(self, request: Request) -> Iterator[Step]:
        url = urlsplit(request.target)
        if url.path.endswith("/logs"):
            self.log_requests += 1
            is_stdout = wanted_page(request)[0] == "stdout"
            raw = self._last.stdout if is_stdout else self._last.stderr
            page = page_for(request, raw)
            self.bytes_sent += len(str(page["data"]).encode())
            yield json_response(200, page)
            return
        state = self._states[min(self.polls, len(self._states) - 1)]
        self.polls += 1
        if not isinstance(state, State):
            yield state
            if self._closes:
                yield Action.CLOSE
            return
        self._last = state
        yield json_response(200, _job_in(state))


def _job_in(state: State) -> dict[str, object]:
    example = "succeeded" if state.status == "succeeded" else "running"
    return documented("getJob", example) | {
        "jobId": JOB_ID,
        "status": state.status,
        "endedAt": "2026-11-23T18:38:06.743Z" if state.status == "succeeded" else state.ended_at,
        "stdoutSize": len(state.stdout),
        "stderrSize": len(state.stderr),
    }
