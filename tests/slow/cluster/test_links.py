"""Cut links, dead and full brokers: scripts beyond are dead before their jobs are called so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nats
import nats.errors
import psutil
import pytest

from local_runner.cluster.messages import LEASES
from scripts.cluster_processes import Broker, free_ports
from scripts.waiting import wait_until
from tests.slow.cluster.network import Network, network
from tests.slow.cluster.scripts import LINES, WORK, Traces, begun, traced
from tests.support.cluster import Cluster
from tests.support.processes import processes_of

__all__ = ["network"]

LOST_SECONDS = 90.0
PLAIN = {"allowPlaintext": True}


def beyond(network: Network, name: str, **keys: Any) -> dict[str, Any]:
    """Settings of an agent on a machine of its own."""
    network.add(name)
    return {"prefix": network.on(name), **PLAIN, **keys}


def test_scripts_beyond_a_cut_are_dead_when_their_jobs_fail(
    tmp_path: Path, network: Network
) -> None:
    agents = {"far": beyond(network, "far", slots=2), "near": PLAIN}
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents=agents,
        keys={"leaseSeconds": 5, **PLAIN},
        runner={"killGraceSeconds": 1},
        brokers=[Broker(tmp_path / "broker", host=network.address)],
    ) as cluster:
        jobs = {
            job_id: cluster.worker(job_id) for job_id in (begun(cluster, "deaf") for _ in "123")
        }
        (near,) = (job_id for job_id, worker in jobs.items() if worker == "near")

        network.cut("far")

        for job_id in jobs:
            if job_id != near:
                job = cluster.front.ended(job_id, LOST_SECONDS)
                assert (job["status"], job["code"]) == ("failed", -1)
                assert processes_of(job_id) == []
        assert cluster.front.job(near)["status"] == "running"
        cluster.front.cancel(near)
        assert cluster.front.run("quick")["status"] == "succeeded"

        network.heal("far")
        cluster.front.ended(near)
        stopped = cluster.agents["near"].stop()
        assert stopped == 0
        assert cluster.front.ended(cluster.front.submit("quick"), LOST_SECONDS)["code"] == 0
        Traces(tmp_path).assert_none_ran_twice()


def test_a_cut_shorter_than_the_lease_costs_nothing(tmp_path: Path, network: Network) -> None:
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"far": beyond(network, "far", slots=2)},
        keys={"leaseSeconds": 20, **PLAIN},
        brokers=[Broker(tmp_path / "broker", host=network.address)],
    ) as cluster:
        job_ids = [begun(cluster, "works", str(LINES)) for _ in range(2)]

        network.cut("far")
        wait_until(lambda: len(Traces(tmp_path).ends) == 2)
        network.heal("far")

        for job_id in job_ids:
            assert cluster.front.ended(job_id, LOST_SECONDS)["status"] == "succeeded"
            assert cluster.front.log(job_id) == WORK
        Traces(tmp_path).assert_none_ran_twice()


def three_brokers(folder: Path, hosts: list[str], prefixes: list[list[str]]) -> list[Broker]:
    """Three brokers that are one cluster, with JetStream."""
    ports = free_ports(9)
    routes = ", ".join(
        f'"nats://{host}:{port}"' for host, port in zip(hosts, ports[3:6], strict=True)
    )
    return [
        Broker(
            folder / f"broker{number}",
            f'server_name: "b{number}"\njetstream {{ store_dir: "./store" }}\n'
            f'http: "{host}:{ports[6 + number]}"\n'
            f'cluster {{ name: "c", listen: "{host}:{ports[3 + number]}", routes: [{routes}] }}\n',
            host=host,
            port=ports[number],
            prefix=prefix,
        )
        for number, (host, prefix) in enumerate(zip(hosts, prefixes, strict=True))
    ]


def test_scripts_of_a_minority_of_the_brokers_are_dead_when_their_jobs_fail(
    tmp_path: Path, network: Network
) -> None:
    hosts = [network.address, network.add("b1"), network.add("b2")]
    brokers = three_brokers(tmp_path, hosts, [[], network.on("b1"), network.on("b2")])
    # This agent is on the machine of a broker that is cut off, and knows no other.
    far = {"prefix": network.on("b2"), "broker": brokers[2].url, **PLAIN}
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"far": far, "near": PLAIN},
        keys={"leaseSeconds": 15, "replicas": 3, **PLAIN},
        runner={"killGraceSeconds": 1},
        brokers=brokers,
    ) as cluster:
        jobs = {cluster.worker(job_id): job_id for job_id in (begun(cluster, "deaf") for _ in "12")}

        network.cut("b2")

        job = cluster.front.ended(jobs["far"], LOST_SECONDS)
        assert (job["status"], job["code"]) == ("failed", -1)
        assert processes_of(jobs["far"]) == []
        assert cluster.front.job(jobs["near"])["status"] == "running"
        network.heal("b2")
        cluster.front.cancel(jobs["near"])
        assert cluster.front.ended(jobs["near"])["status"] == "canceled"


async def are_renewing(broker: Broker) -> bool:
    """Whether the majority gets what front and agent say each second to this broker."""
    try:
        client = await nats.connect(broker.url, connect_timeout=5)
        try:
            counts = []
            for _ in range(2):
                await asyncio.sleep(3)
                counts.append((await client.jetstream().stream_info(LEASES)).state.last_seq)
        finally:
            await client.close()
    except (nats.errors.Error, OSError, TimeoutError):
        return False
    return counts[1] - counts[0] > 3


def guests(broker: Broker) -> set[str]:
    """Who is connected to a broker: `front`, `agent`."""
    url = re.findall('http: "(.*)"', (broker.folder / "nats.conf").read_text())[0]
    connections = httpx.get(f"http://{url}/connz").raise_for_status().json()["connections"]
    return {connection["name"].partition(" ")[0] for connection in connections}


@pytest.fixture
def hosted(tmp_path: Path, network: Network) -> Iterator[tuple[Cluster, list[Broker]]]:
    """A cluster whose front and agent are at the last of three brokers, each on its machine."""
    names = ["b0", "b1", "b2"]
    hosts = [network.add(name) for name in names]
    brokers = three_brokers(tmp_path, hosts, [network.on(name) for name in names])
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"one": PLAIN},
        keys={"leaseSeconds": 20, "replicas": 3, **PLAIN},
        brokers=brokers,
    ) as cluster:
        for broker in brokers[:2]:
            os.kill(broker.pid, signal.SIGSTOP)
        wait_until(lambda: guests(brokers[2]) >= {"front", "agent"}, LOST_SECONDS)
        for broker in brokers[:2]:
            os.kill(broker.pid, signal.SIGCONT)
        wait_until(lambda: asyncio.run(are_in_step(brokers)), LOST_SECONDS)
        wait_until(lambda: asyncio.run(are_renewing(brokers[2])), LOST_SECONDS)
        yield cluster, brokers


@pytest.mark.parametrize("fault", ["cut", "part", "freeze"])
def test_front_and_agent_find_the_majority_of_the_brokers_before_a_lease_is_over(
    hosted: tuple[Cluster, list[Broker]], network: Network, fault: str
) -> None:
    cluster, brokers = hosted
    # For longer than the lease.
    job_id = begun(cluster, "works", "300")

    if fault == "cut":
        network.cut("b2")
    elif fault == "part":
        # Front and agent reach it still, and it takes what they say.
        network.part("b2", "b0")
        network.part("b2", "b1")
    else:
        os.kill(brokers[2].pid, signal.SIGSTOP)

    job = cluster.front.ended(job_id, LOST_SECONDS)
    assert job["status"] == "succeeded", job["stderrPreview"]
    assert cluster.front.log(job_id).splitlines()[-1] == "line 300"


async def forget_hellos(broker: Broker) -> None:
    """Have the brokers lose the leases."""
    client = await nats.connect(broker.url)
    await client.jetstream().purge_stream(LEASES)
    await client.close()


def test_jobs_of_a_dead_agent_fail_though_the_brokers_have_no_hello_of_it(tmp_path: Path) -> None:
    brokers = three_brokers(tmp_path, ["127.0.0.1"] * 3, [[], [], []])
    with Cluster(
        tmp_path,
        traced(tmp_path),
        keys={"leaseSeconds": 15, "replicas": 3},
        runner={"killGraceSeconds": 1},
        brokers=brokers,
    ) as cluster:
        job_id = begun(cluster, "deaf")
        wait_until(lambda: asyncio.run(are_in_step(brokers)), LOST_SECONDS)

        psutil.Process(cluster.agents["one"].pid).suspend()
        asyncio.run(forget_hellos(brokers[0]))

        job = cluster.front.ended(job_id, LOST_SECONDS)
        assert (job["status"], job["code"]) == ("failed", -1)
        assert processes_of(job_id) == []


async def are_in_step(brokers: list[Broker]) -> bool:
    """Whether all three have what the leader of the leases has: then one of them may die."""
    try:
        client = await nats.connect([broker.url for broker in brokers], connect_timeout=5)
        try:
            state = (await client.jetstream().stream_info(LEASES)).cluster
        finally:
            await client.close()
    except (nats.errors.Error, OSError, TimeoutError):
        return False
    others = (state and state.replicas) or []
    return len(others) == 2 and all(other.current and not other.offline for other in others)


def test_the_death_of_each_of_three_brokers_costs_nothing(tmp_path: Path) -> None:
    brokers = three_brokers(tmp_path, ["127.0.0.1"] * 3, [[], [], []])
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={name: {"slots": 2} for name in ("one", "two")},
        keys={"leaseSeconds": 20, "replicas": 3},
        brokers=brokers,
    ) as cluster:
        # One after the other, so that the leader of the leases is among them.
        for broker in brokers:
            running = [begun(cluster, "works", "150") for _ in range(4)]
            broker.stop(signal.SIGKILL)
            accepted = cluster.front.submit("quick")
            for job_id in [*running, accepted]:
                job = cluster.front.ended(job_id, LOST_SECONDS)
                assert job["status"] == "succeeded", job["stderrPreview"]
            broker.start()
            wait_until(lambda: asyncio.run(are_in_step(brokers)), LOST_SECONDS)
        Traces(tmp_path).assert_none_ran_twice()


@pytest.fixture
def small_disks(tmp_path: Path) -> Iterator[list[Path]]:
    """Three folders of 4 MiB each, where this machine lets us mount them."""
    disks = [tmp_path / f"broker{number}" / "store" for number in range(3)]
    with contextlib.ExitStack() as stack:
        for disk in disks:
            disk.mkdir(parents=True)
            mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
            try:
                mounted = subprocess.run(mount, capture_output=True).returncode == 0
            except FileNotFoundError:
                mounted = False
            if not mounted:
                pytest.skip("nothing can be mounted here (it takes Linux and root)")
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        yield disks


def fill(disk: Path) -> None:
    """Take the last free byte of a disk."""
    with (disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))


def test_full_disks_of_brokers_lose_no_job_and_start_none_twice(
    tmp_path: Path, small_disks: list[Path]
) -> None:
    brokers = three_brokers(tmp_path, ["127.0.0.1"] * 3, [[], [], []])
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"one": {"slots": 2}, "two": {"slots": 1}},
        keys={"leaseSeconds": 15, "replicas": 3},
        brokers=brokers,
    ) as cluster:

        def told(text: str) -> bool:
            return any(text in str(event.get("message")) for event in cluster.front.events)

        # One of three: the others go on, for longer than a lease.
        fill(small_disks[0])
        working = [begun(cluster, "works", "200") for _ in range(3)]
        for job_id in working:
            job = cluster.front.ended(job_id, LOST_SECONDS)
            assert job["status"] == "succeeded", job["stderrPreview"]

        running = [begun(cluster, "stays") for _ in range(3)]
        for disk in small_disks[1:]:
            fill(disk)
        queued = [cluster.front.submit("quick") for _ in range(6)]
        for job_id in running:
            job = cluster.front.ended(job_id, LOST_SECONDS)
            assert (job["status"], job["code"]) == ("failed", -1)
            assert "for 15 s the brokers did not renew the lease" in job["stderrPreview"]
            assert processes_of(job_id) == []
        wait_until(lambda: told("the brokers renew no leases"), LOST_SECONDS)
        queued.append(cluster.front.submit("quick"))
        # Its agents are offered them, several times, and take none.
        with pytest.raises(TimeoutError):
            wait_until(lambda: [job for job in queued if cluster.front.job(job)["endedAt"]])

        for broker, disk in zip(brokers, small_disks, strict=True):
            (disk / "filling").unlink()
            broker.stop()
            broker.start()
        for job_id in queued:
            assert cluster.front.ended(job_id, LOST_SECONDS)["status"] == "succeeded"
        Traces(tmp_path).assert_none_ran_twice()
