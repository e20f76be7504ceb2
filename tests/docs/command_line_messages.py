"""Provokes every message of the commands `local-runner start` and `local-runner check`."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from local_runner import log
from local_runner.cli import main
from local_runner.config import TOKEN_VARIABLE
from local_runner.http import server
from tests.docs.messages import CREDENTIAL, Message, Named
from tests.docs.runner_helpers import logged, write


def command_line_messages(folder: Path) -> dict[str, Message]:
    """Every message, by a name that says how it was provoked.

    Args:
        folder: An empty folder.
    """
    messages: dict[str, Message] = {}
    for source in (bad_configurations, refused_starts, refused_histories, usage_errors, warnings):
        own_folder = folder / source.__name__
        own_folder.mkdir()
        messages |= dict(source(own_folder))
    return messages


def refusal(*arguments: str) -> str:
    """The message with which a command ends that cannot do what it is told."""
    result = CliRunner().invoke(main, arguments, prog_name="local-runner")
    assert result.exit_code in (1, 2), result.output
    return result.stderr.rpartition("Error: ")[2]


SCRIPT = {"id": "a", "path": "./a.sh"}
BAD_CONFIGS: dict[str, tuple[object, str]] = {
    "an unknown key": ({"scripts": [{**SCRIPT, "timeout": 1}]}, "scripts.0.timeout"),
    "a missing key": ({"scripts": [{"id": "a"}]}, "scripts.0.path"),
    "a wrong type": ({"server": {"port": "80"}}, "server.port"),
    "too large": ({"server": {"port": 70000}}, "server.port"),
    "an unknown word": ({"runner": {"defaultMode": "later"}}, "runner.defaultMode"),
    "an empty text": ({"server": {"host": ""}}, "server.host"),
    "a null byte": ({"runner": {"logsDir": "a\0b"}}, "runner.logsDir"),
    "no file name": ({"runner": {"jobStoreFile": "/"}}, "runner.jobStoreFile"),
    "an origin that is none": ({"server": {"allowedOrigins": ["box"]}}, "server.allowedOrigins"),
    "a host with a port": ({"server": {"allowedHosts": ["box:80"]}}, "server.allowedHosts"),
    "an id twice": ({"scripts": [SCRIPT, SCRIPT]}, "scripts"),
    "no scripts": ({}, "scripts"),
    "scripts in both places": ({"scriptsFile": "s.json", "scripts": [SCRIPT]}, "scripts"),
    "an array": ([], "config.json"),
}
ENDS_WITH_A_REASON: dict[str, tuple[object, str]] = {
    "a pattern that is none": (
        {"scripts": [{**SCRIPT, "args": {"itemPattern": "a("}}]},
        "scripts.0.args.itemPattern",
    ),
    "no JSON": (b"{", "config.json"),
    "no UTF-8": (b'{"scriptsFile": "\xff"}', "config.json"),
}


def bad_configurations(folder: Path) -> Named:
    """Configurations that cannot be used."""
    for cases, by_reason in ((BAD_CONFIGS, False), (ENDS_WITH_A_REASON, True)):
        for name, (content, key) in cases.items():
            path = write(folder, content)
            text = refusal("check", f"--config={path}")
            yield f"config.json: {name}", Message(text, (str(path), key), by_reason)
    path = write(folder, {"scriptsFile": "./scripts.json"}, {"scripts": [SCRIPT], "more": 1})
    listed = str(folder / "scripts.json")
    text = refusal("check", f"--config={path}")
    yield "scripts.json: an unknown key", Message(text, (listed, "more"))
    (folder / "scripts.json").unlink()
    text = refusal("check", f"--config={path}")
    yield "scripts.json: missing", Message(text, (listed,), ends_with_a_reason=True)
    (folder / "scripts.json").mkdir()
    text = refusal("check", f"--config={path}")
    yield "scripts.json: a folder", Message(text, (listed,), ends_with_a_reason=True)
    nowhere = str(folder / "nowhere.json")
    text = refusal("start", f"--config={nowhere}")
    named = (nowhere, "scriptsFile", "local-runner start --config")
    yield "config.json: missing", Message(text, named, is_a_page=True)


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Let `start` run here: the log and the limits of this process stay as they are."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        mock.patch.object(log, "configure"),
        mock.patch.dict(os.environ, {TOKEN_VARIABLE: CREDENTIAL}),
    ):
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def refused_starts(folder: Path) -> Named:
    """Addresses that cannot be listened on, and tokens that are none."""
    config = f"--config={write(folder, {'scripts': [SCRIPT]})}"
    with socket.create_server(("127.0.0.1", 0)) as taken, starting():
        port = taken.getsockname()[1]
        text = refusal("start", config, f"--port={port}")
    yield "a port in use", Message(text, (f"127.0.0.1:{port}",), ends_with_a_reason=True)
    for host in ("nowhere.example", "a" * 64):
        unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        refuse = mock.patch("socket.getaddrinfo", side_effect=unknown)
        with starting(), refuse if "." in host else contextlib.nullcontext():
            text = refusal("start", config, f"--host={host}")
        yield f"start --host={host}", Message(text, (host,), ends_with_a_reason=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(TOKEN_VARIABLE, raising=False)
        yield "an open door", Message(refusal("start", config, "--host=0.0.0.0"), ("0.0.0.0",))
        patch.setenv(TOKEN_VARIABLE, "\udc80")
        yield "a token that is no text", Message(refusal("start", config), (TOKEN_VARIABLE,))


def refused_histories(folder: Path) -> Named:
    """Histories of jobs that cannot be opened, and a limit of open files that stays low."""
    path = folder / "jobs.sqlite3"
    config = f"--config={write(folder, {'scripts': [SCRIPT]})}"
    with starting(), mock.patch.object(server, "listen"):
        with contextlib.closing(sqlite3.connect(path)) as history:
            history.execute("BEGIN EXCLUSIVE")
            yield "a history in use", Message(refusal("start", config), (str(path),))
            history.execute("ROLLBACK")
            history.execute("PRAGMA user_version = 99")
        text = refusal("start", config)
        yield "a newer history", Message(text, (str(path),), ends_with_a_reason=True)
        path.write_bytes(b"something else, which is no history")
        text = refusal("start", config)
        yield "a history that is none", Message(text, (str(path),), ends_with_a_reason=True)
        path.unlink()
        path.mkdir()
        text = refusal("start", config)
        yield "a folder as history", Message(text, (str(path),), ends_with_a_reason=True)
        refused = mock.patch.object(resource, "setrlimit", side_effect=ValueError("too many"))
        with refused, logged() as lines:
            refusal("start", config)
        yield "few open files", Message(lines[-1], ("files",), ends_with_a_reason=True)


def usage_errors(_: Path) -> Named:
    """Command lines that make no sense."""
    for arguments in (["serve"], ["start", "--bogus"], ["check", "--port=70000"],
                      ["start", "--log-format=xml"]):  # fmt: skip
        named = arguments[-1].partition("=")[0]
        yield f"local-runner {' '.join(arguments)}", Message(refusal(*arguments), (named,))


def warnings(folder: Path) -> Named:
    """What `start` and `check` warn of."""
    config = f"--config={write(folder, {'scripts': [SCRIPT, {'id': 'b', 'path': './b.sh'}]})}"
    (folder / "b.sh").write_text("#!/bin/sh\n")
    with (
        starting(),
        mock.patch.object(server, "listen"),
        mock.patch.object(server, "serve"),
        logged() as lines,
    ):
        CliRunner().invoke(main, ["start", config, "--host=0.0.0.0"], catch_exceptions=False)
    missing, not_executable, unreachable = lines
    named = ("script a", str(folder / "a.sh"))
    yield "a script that is missing", Message(missing, named, ends_with_a_reason=True)
    named = ("script b", str(folder / "b.sh"))
    yield "a script that is not executable", Message(not_executable, named)
    yield "nobody can call", Message(unreachable, ("server.allowedHosts",))
    with mock.patch.dict(os.environ, {TOKEN_VARIABLE: CREDENTIAL}):
        checked = CliRunner().invoke(main, ["check", config, "--host=0.0.0.0"]).output
    for line in lines:
        assert f"warning: {line}\n" in checked
    yield "check", Message(checked, (str(folder / "config.json"), "0.0.0.0:3000"), is_a_page=True)
