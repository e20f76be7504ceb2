"""Credentials: who is let in with which, and that nobody is told them who should not be."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import nats
import nkeys
import pytest

from scripts.cluster_processes import AgentProcess, Broker
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.slow.cluster.scripts import begun, traced
from tests.support.cluster import Cluster

EXAMPLE = Path(__file__).parents[3] / "examples" / "cluster"
PREFIXES = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
"""The first byte of a key of NATS, by what it is of."""

PERMISSIONS = {
    "front": (
        ["runner.agent.>", "runner.inbox.>", "runner.fronts.>"],
        ["runner.front.>", "runner.fronts.>", "runner.inbox.front.>"],
    ),
    "agent": (["runner.front.>"], ["runner.agent.>", "runner.inbox.agent.>"]),
}
"""What each may publish and subscribe to, as in `nats.conf` of the example."""


def certificates(folder: Path) -> Path:
    """What `make-credentials.sh` makes for a broker on loopback."""
    command = [str(EXAMPLE / "make-credentials.sh"), "127.0.0.1", "localhost"]
    environment = {**os.environ, "CREDENTIALS": str(folder)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder


# -- credentials of NATS itself


class Identity:
    """A key of NATS that signs others."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), PREFIXES[kind]))
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode()

    def sign(self, subject: Identity, claims: dict[str, Any]) -> str:
        """A JWT that says something of another one."""
        about = {"iss": self.public, "sub": subject.public, "name": subject.kind, "iat": 1}
        nats = {"type": subject.kind, "version": 2, **claims}
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, {**about, "nats": nats}]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(self._pair.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Operated(NamedTuple):
    """A broker of an operator, and the files of who is let in."""

    config: str
    files: dict[str, Path]


def operated(folder: Path) -> Operated:
    """Make an operator with an account, whose users are front and agent."""
    operator, account = Identity("operator"), Identity("account")
    unlimited = dict.fromkeys(("subs", "data", "payload", "conn", "leaf", "imports", "exports"), -1)
    files = {}
    for name, (publish, subscribe) in PERMISSIONS.items():
        user = Identity("user")
        allowed = {"pub": {"allow": publish}, "sub": {"allow": subscribe}}
        limits = {"subs": -1, "data": -1, "payload": -1}
        files[name] = folder / f"{name}.creds"
        files[name].write_text(
            f"-----BEGIN NATS USER JWT-----\n{account.sign(user, {**allowed, **limits})}\n"
            "------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n"
            f"{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
    signed = operator.sign(account, {"limits": {**unlimited, "wildcards": True}})
    config = (
        f'operator: "{operator.sign(operator, {})}"\nresolver: MEMORY\n'
        f"resolver_preload: {{ {account.public}: {signed} }}\n"
    )
    return Operated(config, files)


@pytest.mark.parametrize("tls", [False, True])
def test_credentials_of_nats_let_in(tmp_path: Path, tls: bool) -> None:
    config, files = operated(tmp_path)
    if tls:
        made = certificates(tmp_path / "made")
        config += f'tls {{ cert_file: "{made}/broker.pem", key_file: "{made}/broker.key" }}\n'
        for path in files.values():
            path.write_text(path.read_text() + (made / "ca.pem").read_text())
    one = Broker(tmp_path / "broker", config, tls=tls)
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"one": {"credentials": str(files["agent"])}},
        keys={"credentials": str(files["front"])},
        brokers=[one],
    ) as cluster:
        assert cluster.front.run("quick")["status"] == "succeeded"
        assert "Violation" not in one.log


def test_credentials_of_nats_that_are_none_are_one_line_and_exit_1(tmp_path: Path) -> None:
    config, files = operated(tmp_path)
    (tmp_path / "theirs").mkdir()
    theirs = operated(tmp_path / "theirs").files["agent"]
    broken = tmp_path / "broken.creds"
    broken.write_text(files["agent"].read_text().replace("\nSU", "\nSX"))
    with Broker(tmp_path / "broker", config) as one:
        for shown, says in (
            (theirs, f"the broker at {one.url}: it does not accept the credentials"),
            (broken, f"{broken}: its NKEY SEED is not valid"),
        ):
            scripts = tmp_path / "scripts.json"
            scripts.write_text('{"scripts": [{"id": "x", "path": "/bin/true"}]}')
            agent = AgentProcess(tmp_path / "one", one.url, scripts, credentials=str(shown))
            done = subprocess.run(agent.command, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (1, f"Error: {says}\n")


# -- what each may say and hear

DENIED = {
    "agent": (["runner.agent.x.1", "runner.inbox.front.1", "runner.fronts.beat", "$JS.API.INFO"],
              ["runner.front.>", "runner.inbox.front.>", "runner.inbox.>", ">"]),
    "front": (["runner.front.x.1.hello", "$JS.API.STREAM.DELETE.RUNNER_LEASES"],
              ["runner.agent.>", "runner.inbox.agent.>", ">"]),
    "agent-box1": (["runner.front.box2.1.hello"], ["runner.agent.>", "runner.inbox.agent.box2.>"]),
}  # fmt: skip
"""What the user of each may not publish, and not subscribe to."""


async def denied(url: str, shown: Path, name: str) -> list[str]:
    """The subjects of `DENIED` that the broker does not let a user have."""
    tls = ssl.create_default_context(cafile=shown.parent / "ca.pem")
    tls.load_cert_chain(shown)
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    client = await nats.connect(url, tls=tls, error_cb=note, allow_reconnect=False)
    publish, subscribe = DENIED[name]
    for subject in publish:
        await client.publish(subject, b"{}")
    for subject in subscribe:
        await client.subscribe(subject)
    await client.flush()
    # Each denial is said, if not always at once.
    async with asyncio.timeout(30):
        while len(errors) < len(publish + subscribe):
            await asyncio.sleep(0.01)
    await client.close()
    return re.findall(r"violation for (?:publish|subscription) to \"(.*?)\"", " ".join(errors))


def test_each_user_of_the_example_has_its_own_subjects_alone(tmp_path: Path) -> None:
    made = certificates(tmp_path / "made")
    command = [str(EXAMPLE / "make-credentials.sh"), "--agent", "box1"]
    environment = {**os.environ, "CREDENTIALS": str(made)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    config = (EXAMPLE / "nats.conf").read_text().replace('listen: "0.0.0.0:4222"', "")
    config = config.replace("./credentials", str(made))
    # What stands there for an agent with a user of its own.
    head, mark, tail = config.partition("    # {\n")
    config = head + re.sub("^    # ", "    ", mark + tail, flags=re.MULTILINE)
    with Broker(tmp_path / "broker", config, tls=True) as one:
        for name, (publish, subscribe) in DENIED.items():
            found = asyncio.run(denied(one.url, made / f"{name}.creds", name))
            assert [subject.lower() for subject in found] == [
                subject.lower() for subject in publish + subscribe
            ]


# -- whoever sits between


class Between:
    """One that takes connections in the broker's place; a plain one, or one with a certificate.

    Attributes:
        heard: All that it was told, behind its TLS if it has one.
        visits: How many connections there were.
    """

    def __init__(self, info: dict[str, Any], port: int = 0, shows: Path | None = None) -> None:
        self.heard, self.visits = b"", 0
        self._info = f"INFO {json.dumps(info)}\r\n".encode()
        self._tls: ssl.SSLContext | None = None
        if shows is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(shows / "broker.pem", shows / "broker.key")
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"tls://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Between:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            with visitor:
                visitor.settimeout(5)
                try:
                    visitor.sendall(self._info)
                    if self._tls is not None:
                        visitor = self._tls.wrap_socket(visitor, server_side=True)
                    while data := visitor.recv(65536):
                        self.heard += data
                        visitor.sendall(b"PONG\r\n")
                except OSError:
                    pass
                finally:
                    visitor.close()


GREETING = {"server_id": "X", "version": "2.15.1", "max_payload": 2**20, "headers": True}
ASKS = {**GREETING, "auth_required": True, "nonce": "c29tZXRoaW5n"}
STRIPPED = {
    "says no": {**ASKS, "tls_required": False},
    "says nothing": ASKS,
    "says it could": {**ASKS, "tls_required": False, "tls_available": True},
    "wants a certificate shown": {**ASKS, "tls_required": False, "tls_verify": True},
    "has another certificate": {**ASKS, "tls_required": True},
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with credentials of every kind."""
    folder = tmp_path_factory.mktemp("ours")
    certificates(folder / "pem")
    operated(folder)
    return folder


@pytest.mark.parametrize(
    ("shown", "info"),
    [*(("credentials of NATS", info) for info in STRIPPED), ("password", "says no")],
)
def test_who_sits_between_without_our_certificate_is_told_nothing(
    shown: str, info: str, ours: Path, tmp_path: Path
) -> None:
    stranger = certificates(tmp_path / "theirs") if info == "has another certificate" else None
    scripts = tmp_path / "scripts.json"
    scripts.write_text('{"scripts": [{"id": "x", "path": "/bin/true"}]}')
    with Between(STRIPPED[info], shows=stranger) as between:
        url = between.url.replace("//", "//me:secret@") if shown == "password" else between.url
        keys: Any = {} if shown == "password" else {"credentials": str(ours / "agent.creds")}
        agent = AgentProcess(tmp_path / "one", url, scripts, **keys)
        done = subprocess.run(agent.command, capture_output=True, text=True, timeout=60)

    assert (between.visits, between.heard) == (1, b"")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the broker at {between.url}: it")


def test_front_agent_and_check_refuse_a_broker_that_speaks_no_tls(
    ours: Path, tmp_path: Path
) -> None:
    with Between(STRIPPED["says no"]) as between:
        front = RunnerProcess(tmp_path, traced(tmp_path))
        shown = str(ours / "pem" / "front.creds")
        cluster = {"nats": [between.url], "credentials": shown}
        listens = {"server": {"port": 0}, "cluster": cluster}
        front.write("config.json", {**listens, "scriptsFile": "./scripts.json"})
        scripts = tmp_path / "scripts.json"
        agent = AgentProcess(tmp_path / "one", between.url, scripts, credentials=shown)
        check = [sys.executable, "-m", "local_runner", "check", "--config"]
        for command in (
            front.command,
            agent.command,
            [*check, str(tmp_path / "config.json")],
            [*check, str(tmp_path / "one" / "agent.json"), "--agent"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            says = f"the broker at {between.url}: it does not speak TLS, though its URL is tls://"
            assert (done.returncode, done.stderr) == (1, f"Error: {says}\n")

    assert (between.visits, between.heard) == (4, b"")


def test_nor_is_it_told_anything_that_takes_the_place_of_a_broker_that_was_there(
    ours: Path, tmp_path: Path
) -> None:
    config = (EXAMPLE / "nats.conf").read_text().replace('listen: "0.0.0.0:4222"', "")
    config = config.replace("./credentials", str(ours / "pem"))
    one = Broker(tmp_path / "broker", config, tls=True)
    with Cluster(
        tmp_path,
        traced(tmp_path),
        agents={"one": {"credentials": str(ours / "pem" / "agent.creds")}},
        keys={"credentials": str(ours / "pem" / "front.creds"), "leaseSeconds": 5},
        brokers=[one],
    ) as cluster:
        job_id = begun(cluster, "stays")
        one.stop(signal.SIGKILL)
        with Between(STRIPPED["says no"], port=one.port) as between:
            wait_until(lambda: between.visits >= 4)
            # Its keeper has something to tell the front.
            cluster.agents["one"].stop(signal.SIGKILL)
            visits = between.visits
            wait_until(lambda: between.visits >= visits + 4, 30)
        assert between.heard == b""
        one.start()
        assert cluster.front.ended(job_id, 60)["code"] == -1
