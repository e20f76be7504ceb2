"""If several brokers must agree on who is alive: the stream of the leases.

It holds the last hello of each machine. Its leader takes a hello only when the majority has it, so
whoever is cut off with a minority of the brokers learns that its lease is not renewed; and whoever
asks the leader learns of every lease that was.
"""

from __future__ import annotations

import asyncio
import base64
import json

from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import NotFoundError

from local_runner.cluster.link import BrokerAway, Link
from local_runner.cluster.messages import (
    BEAT,
    LEASES,
    TO_FRONT,
    AgentId,
    Hello,
    MalformedMessage,
    front_subject,
    parse,
)

CONFIRM_SECONDS = 2.0
MAX_AGE_SECONDS = 3600

NO_MESSAGE_CODE = 10037
"""`err_code` of the brokers' "no message found"."""


async def make_stream(client: Client, replicas: int) -> None:
    """Make the stream, or set it right.

    Raises:
        nats.errors.Error: If the brokers cannot do it now.
    """
    streams = client.jetstream()
    wanted = StreamConfig(
        name=LEASES,
        subjects=[f"{TO_FRONT}.*.*.hello", BEAT],
        # In memory it would be gone for good once two of three brokers were restarted in a row.
        storage=StorageType.FILE,
        num_replicas=replicas,
        max_msgs_per_subject=1,
        max_age=MAX_AGE_SECONDS,
    )
    try:
        found = (await streams.stream_info(LEASES)).config
    except NotFoundError:
        await streams.add_stream(wanted)
    else:
        if (found.num_replicas, found.subjects) != (replicas, wanted.subjects):
            await streams.update_stream(wanted)


async def refused(link: Link, subject: str, hello: bytes) -> str | None:
    """Say hello; returns why the majority of the brokers has not got it, or None if it has.

    The link leaves a broker that does not get it through for another one.
    """
    reason = await _refused(link, subject, hello)
    link.majority.note(reason, asyncio.get_running_loop().time())
    return reason


async def _refused(link: Link, subject: str, hello: bytes) -> str | None:
    try:
        response = json.loads(await link.request(subject, hello, CONFIRM_SECONDS))
        if "error" in response:
            return str(response["error"]["description"])
        return None if response["seq"] else "it has no number"
    except BrokerAway as error:
        return str(error)
    except (ValueError, KeyError, TypeError):
        return "a response that is none"


async def last_hello(link: Link, agent: AgentId) -> Hello | None:
    """The last hello of an agent in the stream.

    Returns:
        None if the stream has none: it is younger than that, or has lost it.

    Raises:
        BrokerAway: If it cannot be told now.
    """
    wanted = json.dumps({"last_by_subj": front_subject(agent, "hello")}).encode()
    subject = f"$JS.API.STREAM.MSG.GET.{LEASES}"
    try:
        response = json.loads(await link.request(subject, wanted, CONFIRM_SECONDS))
        if response.get("error", {}).get("err_code") == NO_MESSAGE_CODE:
            return None
        data = base64.b64decode(response["message"]["data"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokerAway("the brokers do not tell the last hello of an agent") from error
    try:
        return parse(Hello, data)
    except MalformedMessage:
        return None
