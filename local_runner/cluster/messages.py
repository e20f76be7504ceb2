"""What front and agents say to each other: subjects of the broker, and the messages on them.

A message never holds a command: a script is named, and the agent's own `scripts.json` says what
that is. Fields that this version does not know are ignored, so that machines may be upgraded one
after the other.
"""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from local_runner.jobs.record import STREAMS, Status, Stream

PROTOCOL = 1
"""Raised when a message changes so that older machines would get it wrong."""

TO_FRONT = "runner.front"
TO_AGENT = "runner.agent"
INBOX = "runner.inbox"
FRONT_INBOX = f"{INBOX}.front"
PRESENCE = "runner.fronts.presence"
"""Where a front asks whether there is another one."""

BEAT = "runner.fronts.beat"
"""The hello of the front itself, for the stream of the leases."""

LEASES = "RUNNER_LEASES"
"""The stream that holds the last `hello` of each machine if a quorum of brokers must agree."""

NAME = r"[A-Za-z0-9_-]{1,64}"
"""How a machine may be called: it is a token of a subject."""

_JOB_ID = r"job_[0-9]{1,20}_[0-9]{1,20}"
_NUMBER = "[0-9]{1,18}"
_INCARNATION_BYTES = 4

Topic = Literal["hello", "catalog", "permit", "end", "loss", "gone"]


class MalformedMessage(Exception):
    """A message that is not of the format; the text says what is wrong with it."""


class AgentId(NamedTuple):
    """An agent from its start to its end: the same machine started again is another one."""

    name: str
    incarnation: str

    @classmethod
    def new(cls, name: str) -> AgentId:
        """The id of an agent that starts now."""
        return cls(name, secrets.token_hex(_INCARNATION_BYTES))

    @classmethod
    def parse(cls, text: str) -> AgentId:
        """Read an id as `str` writes it.

        Raises:
            MalformedMessage: If it is none.
        """
        if not re.fullmatch(rf"{NAME}\.[0-9a-f]{{{2 * _INCARNATION_BYTES}}}", text):
            raise MalformedMessage(f"{text[:100]!r} is no agent")
        return cls(*text.split("."))

    def __str__(self) -> str:
        """Name and incarnation, as two tokens of a subject."""
        return f"{self.name}.{self.incarnation}"


class Output(NamedTuple):
    """Which part of a script's output a message has."""

    job_id: str
    stream: Stream
    offset: int
    """How many bytes of the stream come before."""
    over: int | None
    """None for a part of the log. Of what is beyond the log's limit only the end is sent, for the
    preview; then this is how many bytes there are for the log."""


def front_subject(agent: AgentId, topic: Topic) -> str:
    """The subject of what an agent says to the front, but for `output_subject`."""
    return f"{TO_FRONT}.{agent}.{topic}"


def output_subject(agent: AgentId, output: Output) -> str:
    """The subject of a part of a script's output."""
    over = "log" if output.over is None else output.over
    return f"{TO_FRONT}.{agent}.output.{output.job_id}.{output.stream}.{output.offset}.{over}"


def agent_subject(agent: AgentId) -> str:
    """The subject of what the front says to an agent."""
    return f"{TO_AGENT}.{agent}"


def agent_inbox(name: str) -> str:
    """Under which subject an agent gets responses."""
    return f"{INBOX}.agent.{name}"


class _Message(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True
    )

    def encode(self) -> bytes:
        """The message as it is sent."""
        return self.model_dump_json(by_alias=True).encode()


MessageT = TypeVar("MessageT", bound=_Message)
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
JobId = Annotated[str, Field(pattern=f"^{_JOB_ID}$")]
Seconds = Annotated[float, Field(ge=0, le=10**9)]
Bytes = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(max_length=64)]


def digest_of(data: bytes) -> str:
    """Short for some bytes: the same only for the same."""
    return hashlib.sha256(data).hexdigest()[:16]


class Hello(_Message):
    """What an agent says each second."""

    protocol: int
    serial: int
    """Counts the agent's hellos."""
    slots: Annotated[int, Field(ge=1, le=100_000)]
    catalog: Digest
    """Of its `Catalog`, so that the front knows when to ask for it."""
    asking: tuple[JobId, ...] = ()
    """Jobs whose permit it waits for."""
    running: tuple[JobId, ...] = ()
    """Jobs it has a permit for, and whose end is not on record."""
    draining: bool = False
    """Whether it takes no more jobs."""
    lease_seconds: Seconds = 0
    """The lease it keeps; 0 before any front has told it one."""


class Catalog(_Message):
    """What an agent can run; said when the front asks for it."""

    host: Annotated[str, Field(max_length=300)]
    labels: tuple[Name, ...]
    scripts: dict[str, Digest]
    """What its `scripts.json` lists, with a digest of each script file; "" if there is none."""

    @functools.cached_property
    def digest(self) -> str:
        """Short for all of it."""
        return digest_of(self.encode())


class Tell(_Message):
    """What the front says to an agent; said again until it has its effect."""

    what: Literal["offer", "end", "kill", "drop", "lease", "describe"]
    """Take this job; end it; end it by force; end it and say no more of it; keep this lease; send
    your catalog."""
    job_id: JobId | None = None
    lease_seconds: Seconds = 0
    replicas: int = 1


class Permit(_Message):
    """An agent asks to start a job; asked again until a response comes."""

    job_id: JobId
    serial: int
    """Of the last hello that did not name the job."""


class Order(_Message):
    """The response to `Permit`."""

    go: bool
    """Whether the agent starts the script; without this it never does."""
    script_id: str = ""
    args: tuple[str, ...] = ()
    timeout_seconds: Seconds = 0
    """The time limit; 0 for none."""
    kill_grace_seconds: Seconds = 0
    log_bytes: Bytes = 0
    """The most bytes of a stream that the front keeps."""
    preview_bytes: Bytes = 0
    """The most bytes of a stream's tail in a job's preview."""
    lease_seconds: Seconds = 0
    replicas: int = 1


class Received(_Message):
    """How many bytes of a stream the front has: the offset to go on with."""

    next: Bytes


class End(_Message):
    """A script has ended; said again until it is on record."""

    job_id: JobId
    status: Status
    code: int
    failure: Annotated[str, Field(max_length=10_000)] | None = None
    """Why it failed through no fault of its own; becomes the end of its preview."""
    duration_ms: Annotated[int, Field(ge=0)]
    stdout_bytes: Bytes
    stderr_bytes: Bytes
    """How many bytes the streams had in all: the end counts when the front has had them."""


class Recorded(_Message):
    """The response to `End`: whether it is on record, or which output is to be sent first."""

    ok: bool
    stdout_next: Bytes = 0
    stderr_next: Bytes = 0
    """If ok is False: how many bytes of the streams the front has."""


class Loss(_Message):
    """Something of a stream came after the end of its script and was thrown away; said again until
    there is a response."""

    job_id: JobId
    stream: Stream


class Gone(_Message):
    """An agent is no more and all of its scripts have ended; said by its keeper, or as it stops."""

    reason: Annotated[str, Field(max_length=1000)]


class Presence(_Message):
    """A front, to another one."""

    front: str
    host: Annotated[str, Field(max_length=300)]
    alone_seconds: Seconds = 0
    """For how long it has been the one that offers jobs."""


def parse(kind: type[MessageT], data: bytes) -> MessageT:
    """Read a message.

    Raises:
        MalformedMessage: If it is not of the format.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise MalformedMessage(
            f"{kind.__name__.lower()}{f', {where[:100]}' if where else ''}: {problem['msg']}"
        ) from error


def sender_of(subject: str) -> tuple[AgentId, str]:
    """Who sent a message to the front, and the rest of its subject.

    Raises:
        MalformedMessage: If the subject is none of ours.
    """
    parts = subject.split(".", 4)
    if len(parts) != 5:
        raise MalformedMessage(f"the subject {subject[:200]!r}")
    return AgentId.parse(f"{parts[2]}.{parts[3]}"), parts[4]


def parse_output(rest: str) -> Output:
    """Read the rest of the subject of a part of the output.

    Raises:
        MalformedMessage: If it is not as `output_subject` writes it.
    """
    match = re.fullmatch(
        rf"output\.({_JOB_ID})\.(stdout|stderr)\.({_NUMBER})\.(log|{_NUMBER})", rest
    )
    if match is None:
        raise MalformedMessage(f"the subject …{rest[:200]!r}")
    job_id, stream, offset, over = match.groups()
    over_bytes = None if over == "log" else int(over)
    return Output(job_id, STREAMS[stream == "stderr"], int(offset), over_bytes)
