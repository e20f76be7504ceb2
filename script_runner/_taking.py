"""Takes the steps of a wait, with threads and with asyncio: calls, sleeps, tells who listens."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from generated_client.models import Job, LogPage
from script_runner._waiting import Ended, GetJob, Polled, Seen, Sleep, Steps
from script_runner.errors import ScriptRunnerError
from script_runner.logs import PageRequest, Stream
from script_runner.logs._follow import Line, Notice, Progress, Text

OnText = Callable[[str, Stream], Awaitable[None] | None]
OnLine = Callable[[str, Stream], Awaitable[None] | None]
OnNotice = Callable[[str], Awaitable[None] | None]
OnProgress = Callable[[float], Awaitable[None] | None]
OnPoll = Callable[[Job], Awaitable[None] | None]


@dataclass(frozen=True)
class Listener:
    """Whom a wait tells what it has seen; see `ScriptRunner.wait`."""

    on_line: OnLine | None = None
    on_progress: OnProgress | None = None
    on_poll: OnPoll | None = None
    on_text: OnText | None = None
    on_notice: OnNotice | None = None

    @property
    def wants_output(self) -> bool:
        """Whether the logs must be read."""
        return any((self.on_line, self.on_progress, self.on_text))

    def hear(self, step: Seen) -> Awaitable[None] | None:
        """Call the function for what was seen; one of a coroutine is to be awaited."""
        result = None
        match step:
            case Text(text, stream) if self.on_text is not None:
                result = self.on_text(text, stream)
            case Notice(text) if self.on_notice is not None:
                result = self.on_notice(text)
            case Line(text, stream) if self.on_line is not None:
                result = self.on_line(text, stream)
            case Progress(percent) if self.on_progress is not None:
                result = self.on_progress(percent)
            case Polled(job) if self.on_poll is not None:
                result = self.on_poll(job)
        return result if inspect.isawaitable(result) else None


Poll = GetJob | PageRequest
"""A step that is a call."""


def take(
    steps: Steps,
    listener: Listener,
    call: Callable[[Poll], Job | LogPage],
    sleep: Callable[[float], None],
) -> Job:
    """Take the steps of a wait to its end.

    Args:
        steps: The steps.
        listener: Whom to tell what is seen; a call that fails is thrown into the steps.
        call: Makes a call.
        sleep: Waits so many seconds.

    Returns:
        The ended job.
    """
    step = next(steps)
    while not isinstance(step, Ended):
        if isinstance(step, Poll):
            try:
                got = call(step)
            except ScriptRunnerError as error:
                step = steps.throw(error)
            else:
                step = steps.send(got)
            continue
        if isinstance(step, Sleep):
            sleep(step.seconds)
        else:
            listener.hear(step)
        step = next(steps)
    return step.job


async def take_async(
    steps: Steps,
    listener: Listener,
    call: Callable[[Poll], Awaitable[Job | LogPage]],
    sleep: Callable[[float], Awaitable[None]],
) -> Job:
    """The same for asyncio."""
    step = next(steps)
    while not isinstance(step, Ended):
        if isinstance(step, Poll):
            try:
                got = await call(step)
            except ScriptRunnerError as error:
                step = steps.throw(error)
            else:
                step = steps.send(got)
            continue
        if isinstance(step, Sleep):
            await sleep(step.seconds)
        elif (heard := listener.hear(step)) is not None:
            await heard
        step = next(steps)
    return step.job
