"""The one family of errors that every call and every block raises.

    ScriptRunnerError
    ├── InvalidInput        an input that cannot be sent (also a ValueError); nothing was sent
    ├── RunnerUnreachable   no answer: refused, unknown host, TLS, connection lost
    ├── RequestTimedOut     no whole answer, or no end of a job, within the time limit
    ├── RequestRejected     the runner, or something before it, answered with an HTTP error
    └── InvalidResponse     an answer that is not one of script-runner

A message says what was asked of whom, what came back and what to do next. It never holds a
credential.
"""

from __future__ import annotations


class ScriptRunnerError(Exception):
    """Whatever can go wrong between a caller and a script-runner."""


class InvalidInput(ScriptRunnerError, ValueError):
    """An input that cannot be sent; nothing was sent."""


class RunnerUnreachable(ScriptRunnerError):
    """No answer came: refused, unknown host, TLS failure, or the connection was lost."""


class RequestTimedOut(ScriptRunnerError):
    """No whole answer came, or a job did not end, within the time limit."""


class RequestRejected(ScriptRunnerError):
    """The runner, or a proxy before it, answered with an HTTP error.

    Attributes:
        status_code: The HTTP status, 400 or above.
        code: The runner's error code, such as `JOB_NOT_FOUND`; None when the body has none.
        message: The runner's sentence; None when the body has none.
    """

    def __init__(
        self, text: str, *, status_code: int, code: str | None = None, message: str | None = None
    ) -> None:
        """Keep the parts of the answer beside the text of the error."""
        super().__init__(text)
        self.status_code = status_code
        self.code = code
        self.message = message


class InvalidResponse(ScriptRunnerError):
    """An answer that is not one of script-runner: not JSON, a field missing or of a wrong type."""
