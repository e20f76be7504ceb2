"""Run scripts through a script-runner, watch them, read their output, stop them.

    from script_runner import ScriptRunner

    with ScriptRunner("http://localhost:3000") as runner:
        job_id = runner.start("count", "6")
        job = runner.wait(job_id, timeout=60, on_line=lambda line, stream: print(line))
        print(job.status, job.code, runner.lines(job_id, "stdout", limit=3).lines)

`AsyncScriptRunner` has the same verbs for asyncio. `connect` gives one `ScriptRunner` a URL to all
who ask, as the blocks do. `generated_client`, on which it stands, is generated from
`openapi/script-runner.yaml`; this package adds what a spec cannot say: warm connections,
timeouts for whole calls, one family of errors, lines instead of bytes, waiting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from script_runner._async_client import AsyncScriptRunner
    from script_runner._client import ScriptRunner
    from script_runner._connect import connect, disconnect
    from script_runner._settings import Settings
    from script_runner._status import Status, has_ended
    from script_runner.errors import (
        InvalidInput,
        InvalidResponse,
        RequestRejected,
        RequestTimedOut,
        RunnerUnreachable,
        ScriptRunnerError,
        WaitTimedOut,
    )
    from script_runner.logs import LogLines, Stream

__all__ = [
    "AsyncScriptRunner",
    "InvalidInput",
    "InvalidResponse",
    "LogLines",
    "RequestRejected",
    "RequestTimedOut",
    "RunnerUnreachable",
    "ScriptRunner",
    "ScriptRunnerError",
    "Settings",
    "Status",
    "Stream",
    "WaitTimedOut",
    "connect",
    "disconnect",
    "has_ended",
]

_HOMES = {
    "AsyncScriptRunner": "_async_client",
    "LogLines": "logs",
    "ScriptRunner": "_client",
    "Settings": "_settings",
    "Status": "_status",
    "Stream": "logs",
    "connect": "_connect",
    "disconnect": "_connect",
    "has_ended": "_status",
}
"""The module of each name that is not one of `errors`."""


def __getattr__(name: str) -> Any:
    """Import what is asked for: who uses threads waits for no asyncio, a command for neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    # The next time it is found without this.
    value = globals()[name] = getattr(home, name)
    return value
