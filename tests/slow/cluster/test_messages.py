"""What whoever can speak to the broker can do, and cannot: garbage, lies, other people's jobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from local_runner.cluster.messages import (
    PROTOCOL,
    AgentId,
    Catalog,
    End,
    Gone,
    Hello,
    Order,
    Output,
    Permit,
    Received,
    Recorded,
    Tell,
    Topic,
    agent_subject,
    front_subject,
    output_subject,
)
from local_runner.jobs.record import Status
from scripts.cluster_processes import AgentProcess, Broker
from scripts.waiting import wait_until
from tests.slow.cluster.scripts import Traces, begun, traced
from tests.support.cluster import Cluster

STRANGER = AgentId("stranger", "0123abcd")
GARBAGE = [
    b"",
    b"{}",
    b"null",
    b"[]",
    b"\xff\xfe\x00",
    b'{"jobId": 1}',
    b"x" * 100_000,
    b'"\\ud800"',
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cluster is, and its scripts leave traces."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster of one agent with two slots, with a script that only the front lists."""
    scripts = {**traced(folder), "front-only": "#!/bin/sh\n", "strict": "#!/bin/sh\necho $1\n"}
    scripts["large"] = "#!/bin/sh\n"
    rules = {"large": {"args": {"maxItems": 20, "itemMaxLength": 200_000}}}
    one = Cluster(folder, scripts, agents={"one": {"slots": 2}}, rules=rules)
    listed = json.loads((one.front.folder / "scripts.json").read_text())["scripts"]
    mine = [script for script in listed if script["id"] != "front-only"]
    for script in mine:
        script["path"] = str(one.front.folder / script["path"])
        if script["id"] == "strict":
            script["args"] = {"itemPattern": "^[a-z]+$"}
    (folder / "agent-scripts.json").write_text(json.dumps({"scripts": mine}))
    one.add_agent("one", slots=2, scripts_file=folder / "agent-scripts.json")
    with one:
        yield one


def speak(cluster: Cluster, speech: Callable[[Client], Awaitable[Any]]) -> Any:
    """Say something to the broker."""

    async def connected() -> Any:
        client = await nats.connect(cluster.broker.url)
        try:
            return await speech(client)
        finally:
            await client.flush()
            await client.close()

    return asyncio.run(connected())


def agent_of(cluster: Cluster) -> AgentId:
    """The id of the agent, as it says it."""

    async def listen(client: Client) -> str:
        heard = await client.subscribe("runner.front.one.*.hello")
        return (await heard.next_msg(10)).subject

    return AgentId(*speak(cluster, listen).split(".")[2:4])


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_ends_nothing(cluster: Cluster, data: bytes) -> None:
    agent = agent_of(cluster)
    job_id = begun(cluster, "stays")

    async def rave(client: Client) -> None:
        topics = (*get_args(Topic), "output", "nonsense", "output.a.b")
        for sender in (STRANGER, agent):
            for topic in topics:
                await client.publish(f"runner.front.{sender}.{topic}", data, reply="nobody")
        for subject in (
            agent_subject(agent),
            "runner.fronts.presence",
            "runner.front",
            "runner.front.a.b",
        ):
            await client.publish(subject, data)
        good = Output(job_id, "stdout", 0, None)
        for subject in (output_subject(agent, good), output_subject(STRANGER, good)):
            await client.publish(f"{subject}x", data, reply="nobody")

    speak(cluster, rave)

    assert cluster.front.run("quick")["status"] == "succeeded"
    assert cluster.front.job(job_id)["status"] == "running"
    cluster.front.cancel(job_id)
    assert cluster.front.ended(job_id)["status"] == "canceled"
    assert any(event["event"] == "malformed" for event in cluster.front.logged())


def test_a_subject_that_is_no_utf_8_is_survived(cluster: Cluster) -> None:
    async def rave(client: Client) -> None:
        await client._send_command(b"PUB runner.front.\xff\xfe.a.hello 2\r\nhi\r\n")
        await client._flush_pending()

    speak(cluster, rave)

    assert cluster.front.run("quick")["status"] == "succeeded"


def test_nobody_gets_a_job_that_was_not_offered_to_it(cluster: Cluster) -> None:
    queued = [begun(cluster, "stays"), begun(cluster, "stays")]
    waiting = cluster.front.submit("quick")

    async def ask(client: Client) -> list[bytes]:
        subject = front_subject(STRANGER, "permit")
        return [
            (await client.request(subject, Permit(job_id=job_id, serial=1).encode(), 10)).data
            for job_id in (waiting, queued[0], "job_1_1")
        ]

    responses = [json.loads(response) for response in speak(cluster, ask)]

    assert [response["go"] for response in responses] == [False, False, False]
    assert all(response["args"] == [] for response in responses)
    for job_id in queued:
        cluster.front.cancel(job_id)
    assert cluster.front.ended(waiting)["status"] == "succeeded"


def test_an_agent_says_nothing_of_the_job_of_another_one(cluster: Cluster) -> None:
    job_id = begun(cluster, "stays")

    async def lie(client: Client) -> None:
        output = output_subject(STRANGER, Output(job_id, "stdout", 6, None))
        await client.request(output, b"forged\n", 10)
        end = End(
            job_id=job_id,
            status=Status.SUCCEEDED,
            code=0,
            duration_ms=1,
            stdout_bytes=0,
            stderr_bytes=0,
        )
        await client.request(front_subject(STRANGER, "end"), end.encode(), 10)
        gone = Gone(reason="forged").encode()
        await client.request(front_subject(STRANGER, "gone"), gone, 10)

    speak(cluster, lie)

    assert cluster.front.job(job_id)["status"] == "running"
    assert cluster.front.log(job_id) == "begun\n"
    cluster.front.cancel(job_id)


def test_an_order_without_a_front_starts_nothing(cluster: Cluster, folder: Path) -> None:
    agent, before = agent_of(cluster), Traces(folder).starts

    async def order(client: Client) -> None:
        for data in (
            b'{"what": "offer", "jobId": "job_1_1"}',
            b'{"go": true, "scriptId": "quick", "args": []}',
        ):
            await client.publish(agent_subject(agent), data)

    speak(cluster, order)

    # Offered, it asks the front, which knows nothing of it.
    assert cluster.front.run("quick")["status"] == "succeeded"
    assert len(Traces(folder).starts) == len(before) + 1


def test_a_job_waits_until_an_agent_lists_its_script(cluster: Cluster, folder: Path) -> None:
    job_id = cluster.front.submit("front-only")

    assert cluster.front.run("quick")["status"] == "succeeded"
    assert cluster.front.job(job_id)["status"] == "queued"
    wait_until(
        lambda: any(
            "lists front-only" in str(event.get("message")) for event in cluster.front.events
        )
    )

    path = folder / "agent-scripts.json"
    listed = json.loads(path.read_text())
    script = {"id": "front-only", "path": str(cluster.front.folder / "front-only.sh")}
    path.write_text(json.dumps({"scripts": [*listed["scripts"], script]}))

    assert cluster.front.ended(job_id)["status"] == "succeeded"


def test_the_rules_of_the_agent_hold_too(cluster: Cluster) -> None:
    assert cluster.front.run("strict", "abc")["stdoutPreview"] == "abc\n"

    job = cluster.front.run("strict", "ABC")

    assert (job["status"], job["code"], job["stdoutSize"]) == ("failed", -1, 0)
    assert job["stderrPreview"] == (
        "the script was not started: one does not run it: arg[0] does not match pattern\n"
    )


def test_arguments_larger_than_the_broker_takes_fail_with_the_reason(cluster: Cluster) -> None:
    job = cluster.front.run("large", *["x" * 100_000] * 15)

    assert (job["status"], job["code"]) == ("failed", -1)
    assert job["stderrPreview"] == "its arguments are larger than the broker's max_payload\n"
    assert cluster.front.run("quick")["status"] == "succeeded"


def test_an_agent_takes_what_it_is_offered(cluster: Cluster) -> None:
    runs = 30

    async def listen(client: Client) -> list[str]:
        told = await client.subscribe("runner.agent.>")
        await client.flush()
        await asyncio.to_thread(run)
        await client.flush()
        tells = [json.loads((await told.next_msg()).data) for _ in range(told.pending_msgs)]
        return [tell["jobId"] for tell in tells if tell["what"] == "offer"]

    def run() -> None:
        for job_id in [cluster.front.submit("quick") for _ in range(runs)]:
            cluster.front.ended(job_id)

    offers = speak(cluster, listen)

    # One that was not taken is made again after 2 seconds, as is one that comes too late.
    assert len(set(offers)) == runs
    assert len(offers) < runs + runs / 10


def test_an_output_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    script = tmp_path / "quick.sh"
    script.write_text("#!/bin/sh\necho done\n")
    script.chmod(0o755)
    listed = tmp_path / "scripts.json"
    listed.write_text(json.dumps({"scripts": [{"id": "quick", "path": str(script)}]}))

    async def be_the_front(url: str) -> list[bytes]:
        client = await nats.connect(url)
        hellos = await client.subscribe("runner.front.one.*.hello")
        permits = await client.subscribe("runner.front.one.*.permit")
        outputs = await client.subscribe("runner.front.one.*.output.>")
        ends = await client.subscribe("runner.front.one.*.end")
        agent = AgentId(*(await hellos.next_msg(30)).subject.split(".")[2:4])
        offer = Tell(what="offer", job_id="job_1_1")
        await client.publish(agent_subject(agent), offer.encode())
        order = Order(go=True, script_id="quick", log_bytes=100, lease_seconds=30)
        await (await permits.next_msg(10)).respond(order.encode())
        lost = await outputs.next_msg(10)
        # Said at once, and when all should have arrived.
        for _ in range(2):
            await (await ends.next_msg(10)).respond(Recorded(ok=False).encode())
        again = await outputs.next_msg(10)
        await again.respond(Received(next=len(again.data)).encode())
        end = await ends.next_msg(10)
        await end.respond(Recorded(ok=True).encode())
        await client.close()
        return [lost.data, again.data, end.data]

    with Broker(tmp_path / "broker") as broker, contextlib.ExitStack() as stack:
        one = AgentProcess(tmp_path / "one", broker.url, listed).start()
        stack.callback(one.end)
        lost, again, end = asyncio.run(be_the_front(broker.url))

    assert lost == again == b"done\n"
    assert json.loads(end)["stdoutBytes"] == 5
    assert json.loads(end)["status"] == "succeeded"


def test_another_file_on_an_agent_is_logged_once(cluster: Cluster, folder: Path) -> None:
    other = folder / "other.sh"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(0o755)
    path = folder / "agent-scripts.json"
    listed = json.loads(path.read_text())
    for script in listed["scripts"]:
        if script["id"] == "quick":
            script["path"] = str(other)
    path.write_text(json.dumps(listed))

    def told() -> int:
        messages = [str(event.get("message")) for event in cluster.front.logged()]
        return messages.count("agent one has another file for script quick than here")

    wait_until(told, 30)
    assert cluster.front.run("quick")["stdoutPreview"] == "other\n"
    assert told() == 1


def test_an_agent_of_another_version_is_logged_and_gets_no_jobs(cluster: Cluster) -> None:
    catalog = Catalog(host="nowhere", labels=(), scripts={"quick": ""})
    new = AgentId("new", "0123abcd")
    hello = Hello(protocol=PROTOCOL + 1, serial=1, slots=1000, catalog=catalog.digest)

    told: list[bytes] = []

    async def note(message: Msg) -> None:
        told.append(message.data)

    async def serve(client: Client) -> None:
        await client.subscribe(agent_subject(new), cb=note)
        # It says more than this version knows.
        said = hello.encode().replace(b"{", b'{"more": [1], ', 1)
        await client.publish(front_subject(new, "hello"), said)
        await client.publish(front_subject(new, "catalog"), catalog.encode())
        await client.flush()
        for _ in range(5):
            job = await asyncio.to_thread(cluster.front.run, "quick")
            assert job["status"] == "succeeded"

    speak(cluster, serve)

    assert told
    assert not any(b"offer" in data for data in told)
    said = [event.get("message") for event in cluster.front.events]
    assert "agent new is of another version: upgrade it" in said


def test_a_stranger_that_says_it_can_do_everything_holds_nothing_up_for_long(
    cluster: Cluster,
) -> None:
    async def pose(client: Client) -> Any:
        catalog = Catalog(host="nowhere", labels=(), scripts={"quick": ""})
        hello = Hello(protocol=1, serial=1, slots=1000, catalog=catalog.digest)
        await client.publish(front_subject(STRANGER, "hello"), hello.encode())
        await client.publish(front_subject(STRANGER, "catalog"), catalog.encode())
        await client.flush()
        return await asyncio.to_thread(cluster.front.run, "quick")

    assert speak(cluster, pose)["status"] == "succeeded"
