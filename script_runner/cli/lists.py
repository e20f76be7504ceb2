"""`GET /jobs` and `GET /scripts`, which the local runner has (`openapi/local-runner.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, Protocol, Self, TypeVar

import attrs
import httpx

from generated_client import Client
from generated_client.errors import UnexpectedStatus
from generated_client.models import Job
from generated_client.types import Response
from script_runner import RequestRejected, ScriptRunner, ScriptRunnerError
from script_runner._validation import check_types


@dataclass(frozen=True)
class ListedJob:
    """A job of a list, whose previews are empty."""

    job: Job
    args: list[str]

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read one."""
        job = Job.from_dict({**document, "stdoutPreview": "", "stderrPreview": ""})
        check_types(job)
        return cls(job, [str(arg) for arg in document["args"]])


@attrs.define
class JobList:
    """A page of jobs.

    Attributes:
        next_id: The `before` of the next page; None if there is none.
        jobs: The jobs, the newest first.
        document: The response as it came.
    """

    next_id: str | None
    jobs: list[ListedJob] = attrs.field(init=False)
    document: dict[str, Any] = attrs.field(init=False)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read one."""
        page = cls(document["next"])
        page.jobs = [ListedJob.from_dict(job) for job in document["jobs"]]
        page.document = document
        return page


@attrs.define
class Script:
    """A script that may be run; see the spec."""

    id: str
    description: str | None
    mode: str
    timeout_sec: int
    max_concurrent: int | None
    running: int
    queued: int
    max_items: int

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read one."""
        script = cls(
            document["id"],
            document["description"],
            document["mode"],
            document["timeoutSec"],
            document["maxConcurrent"],
            document["running"],
            document["queued"],
            document["args"]["maxItems"],
        )
        check_types(script)
        return script


@attrs.define
class Agent:
    """A machine that runs scripts for the local runner; see the spec."""

    name: str
    host: str
    slots: int
    running: int
    state: str
    labels: str
    """With commas between them."""

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read one."""
        labels = ",".join(str(label) for label in document["labels"])
        agent = cls(
            document["name"],
            document["host"],
            document["slots"],
            document["running"],
            document["state"],
            labels,
        )
        check_types(agent)
        return agent


@attrs.define
class ScriptList:
    """The scripts, in the order of the configuration, and the response as it came.

    Attributes:
        scripts: The scripts.
        agents: The machines that run them; None if it is the runner's own.
        document: The response as it came.
    """

    scripts: list[Script] = attrs.field(init=False)
    agents: list[Agent] | None = attrs.field(init=False)
    document: dict[str, Any] = attrs.field(init=False)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read one."""
        listed = cls()
        listed.scripts = [Script.from_dict(script) for script in document["scripts"]]
        # An older local runner does not speak of agents.
        agents = document.get("agents")
        listed.agents = None if agents is None else [Agent.from_dict(agent) for agent in agents]
        listed.document = document
        return listed


class _Model(Protocol):
    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self: ...


ModelT = TypeVar("ModelT", bound=_Model)


@dataclass(frozen=True)
class _List(Generic[ModelT]):
    """An operation as those of `generated_client.api.jobs` are."""

    path: str
    model: type[ModelT]

    def sync_detailed(self, *, client: Client, **query: Any) -> Response[ModelT]:
        """Call it."""
        return self._read(client.get_httpx_client().get(self.path, params=query))

    async def asyncio_detailed(self, *, client: Client, **query: Any) -> Response[ModelT]:
        """Call it, awaited."""
        return self._read(await client.get_async_httpx_client().get(self.path, params=query))

    def _read(self, response: httpx.Response) -> Response[ModelT]:
        if response.status_code != HTTPStatus.OK:
            raise UnexpectedStatus(response.status_code, response.content)
        parsed = self.model.from_dict(response.json())
        return Response(HTTPStatus.OK, response.content, response.headers, parsed)


_JOBS = _List("/jobs", JobList)
_SCRIPTS = _List("/scripts", ScriptList)


class NoLists(ScriptRunnerError):
    """The runner has no lists."""


def list_jobs(runner: ScriptRunner, **query: Any) -> JobList:
    """A page of the jobs of a runner.

    Args:
        runner: The runner.
        query: The parameters of `listJobs`, as they are on the wire.

    Raises:
        NoLists: If it is another script-runner than the local runner.
        ScriptRunnerError: See `ScriptRunner.call`.
    """
    return _call(runner, _JOBS, **query)


def list_scripts(runner: ScriptRunner) -> ScriptList:
    """The scripts of a runner; raises as `list_jobs`."""
    return _call(runner, _SCRIPTS)


def _call(runner: ScriptRunner, operation: _List[ModelT], **query: Any) -> ModelT:
    try:
        return runner.call(operation, returns=operation.model, **query)
    except RequestRejected as error:
        if error.status_code != HTTPStatus.NOT_FOUND:
            raise
        raise NoLists(
            f"The runner at {runner.url} lists no jobs and no scripts, as only local-runner does: "
            "use the ids that you know, or --url to name another."
        ) from None
