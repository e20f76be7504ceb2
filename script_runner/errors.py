"""The one family of errors that every call and every block raises.

    ScriptRunnerError
    ├── InvalidInput        an input that cannot be sent (also a ValueError); nothing was sent
    ├── RunnerUnreachable   no response: refused, unknown host, TLS, connection lost
    ├── RequestTimedOut     no whole response within the timeout
    │   └── WaitTimedOut    the job has not ended within the timeout of a wait; it goes on
    ├── RequestRejected     the runner, or something before it, responded with an HTTP error
    └── InvalidResponse     a response that is not one of script-runner

A message says what was asked of whom, what came back and what to do next. It never holds a
credential.
"""

from __future__ import annotations

from generated_client.models import Job


class ScriptRunnerError(Exception):
    """Whatever can go wrong between a caller and a script-runner."""

    def __reduce__(self) -> tuple[object, ...]:
        """Take the attributes along to another process, from a pool of workers for instance."""
        return _rebuilt, (type(self), self.args, vars(self))


class InvalidInput(ScriptRunnerError, ValueError):
    """An input that cannot be sent; nothing was sent."""


class RunnerUnreachable(ScriptRunnerError):
    """No response came: refused, unknown host, TLS failure, or the connection was lost."""


class RequestTimedOut(ScriptRunnerError):
    """No whole response came within the timeout, or a job did not end within that of a wait."""


class WaitTimedOut(RequestTimedOut):
    """A job has not ended within the timeout of a wait; it goes on.

    Attributes:
        job: The job as it was when it was last polled.
    """

    def __init__(self, text: str, *, job: Job) -> None:
        """Keep the job beside the text of the error."""
        super().__init__(text)
        self.job = job


class RequestRejected(ScriptRunnerError):
    """The runner, or a proxy before it, responded with an HTTP error.

    Attributes:
        status_code: The HTTP status, 400 or above.
        code: The runner's error code, such as `JOB_NOT_FOUND`; None if the body has none.
        message: The runner's sentence; None if the body has none.
    """

    def __init__(
        self, text: str, *, status_code: int, code: str | None = None, message: str | None = None
    ) -> None:
        """Keep the parts of the response beside the text of the error."""
        super().__init__(text)
        self.status_code = status_code
        self.code = code
        self.message = message


class InvalidResponse(ScriptRunnerError):
    """A response that is not one of script-runner: not JSON, a field missing or of a wrong type,
    or not for the job and stream that were asked for."""


def _rebuilt(
    kind: type[ScriptRunnerError], arguments: tuple[object, ...], attributes: dict[str, object]
) -> ScriptRunnerError:
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error
