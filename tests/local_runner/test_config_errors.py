"""Configurations that cannot be used: each ends `local-runner start` with one line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from local_runner.cli import main
from local_runner.config import ServerConfig
from local_runner.http import server

SCRIPT = {"id": "a", "path": "./a.sh"}


def write(folder: Path, config: object, scripts: object = None) -> Path:
    """Write the files: bytes and text as they are, anything else as JSON."""
    for name, content in (("config.json", config), ("scripts.json", scripts)):
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "config.json"


def in_server(**server: Any) -> dict[str, Any]:
    return {"server": server, "scripts": [SCRIPT]}


def in_runner(**runner: Any) -> dict[str, Any]:
    return {"runner": runner, "scripts": [SCRIPT]}


def in_script(**script: Any) -> dict[str, Any]:
    return {"scripts": [SCRIPT, {**SCRIPT, "id": "b", **script}]}


def in_args(**args: Any) -> dict[str, Any]:
    return in_script(args=args)


BAD_CONFIGS = {
    "unknown-key": ({"script": [SCRIPT]}, "script: unknown key, did you mean scripts?"),
    "unknown-key-of-server": (in_server(prot=1), "server.prot: unknown key, did you mean port?"),
    "unknown-key-of-runner": (
        in_runner(max_concurrent=1),
        "runner.max_concurrent: unknown key, did you mean maxConcurrent?",
    ),
    "unknown-key-of-script": (
        in_script(timeout=1),
        "script 'b': timeout: unknown key, did you mean timeoutSec?",
    ),
    "unknown-key-of-args": (
        in_args(pattern="x"),
        "script 'b': args.pattern: unknown key, did you mean itemPattern?",
    ),
    "port-text": (in_server(port="80x"), "server.port: input should be a valid integer"),
    "port-true": (in_server(port=True), "server.port: input should be a valid integer"),
    "port-large": (
        in_server(port=65536),
        "server.port: input should be less than or equal to 65535",
    ),
    "port-small": (in_server(port=-1), "server.port: input should be greater than or equal to 0"),
    "hosts-text": (
        in_server(allowedHosts="box"),
        "server.allowedHosts: input should be a valid array",
    ),
    "hosts-number": (
        in_server(allowedHosts=["box", 1]),
        "server.allowedHosts.1: input should be a valid string",
    ),
    "origins": (
        in_server(allowedOrigins={}),
        "server.allowedOrigins: input should be a valid array",
    ),
    "unauthenticated": (
        in_server(allowUnauthenticated="yes"),
        "server.allowUnauthenticated: input should be a valid boolean",
    ),
    "server-text": ({"server": "", "scripts": [SCRIPT]}, "server: input should be an object"),
    "no-slot": (
        in_runner(maxConcurrent="0"),
        "runner.maxConcurrent: input should be greater than or equal to 1",
    ),
    "default-mode": (
        in_runner(defaultMode="later"),
        "runner.defaultMode: input should be 'sync' or 'async'",
    ),
    "no-log": (
        in_runner(stdoutMaxBytes=-1),
        "runner.maxLogBytesPerStream: input should be greater than or equal to 1",
    ),
    "preview-large": (
        in_runner(previewMaxBytes=1048577),
        "runner.previewMaxBytes: input should be less than or equal to 1048576",
    ),
    "no-history": (
        in_runner(maxJobs=0),
        "runner.maxJobs: input should be greater than or equal to 1",
    ),
    "grace": (
        in_runner(killGraceSeconds=-0.1),
        "runner.killGraceSeconds: input should be greater than or equal to 0",
    ),
    "no-id": ({"scripts": [{"path": "./a.sh"}]}, "scripts.0.id: missing, it must be there"),
    "no-path": ({"scripts": [{"id": "a"}]}, "script 'a': path: missing, it must be there"),
    "id-empty": (in_script(id=""), "scripts.1.id: string should have at least 1 character"),
    "id-number": (in_script(id=5), "scripts.1.id: input should be a valid string"),
    "id-array": (in_script(id=[]), "scripts.1.id: input should be a valid string"),
    "id-twice": (in_script(id="a"), "duplicate script id 'a' (listed 2 times)"),
    "mode": (in_script(mode="Sync"), "script 'b': mode: input should be 'sync' or 'async'"),
    "timeout-part": (
        in_script(timeoutSec=1.5),
        "script 'b': timeoutSec: input should be a valid integer",
    ),
    "timeout-small": (
        in_script(timeoutSec=-1),
        "script 'b': timeoutSec: input should be greater than or equal to 0",
    ),
    "items": (
        in_args(maxItems=-1),
        "script 'b': args.maxItems: input should be greater than or equal to 0",
    ),
    "length": (
        in_args(itemMaxLength="nine"),
        "script 'b': args.itemMaxLength: input should be a valid integer",
    ),
    "pattern": (
        in_args(itemPattern="a("),
        "script 'b': args.itemPattern: 'a(' is not a regular expression: Unbalanced parenthesis",
    ),
    "scripts-object": ({"scripts": {"a": SCRIPT}}, "scripts: input should be a valid array"),
    "scripts-text": ({"scripts": ["./a.sh"]}, "scripts.0: input should be an object"),
    "neither": ({}, "scripts: name a scriptsFile, or list the scripts here"),
    "none": ({"scripts": []}, "scripts: name a scriptsFile, or list the scripts here"),
    "scripts-file-number": ({"scriptsFile": 1}, "scriptsFile: input should be a valid string"),
    "array": ([SCRIPT], "input should be an object"),
    "not-json": (
        "{",
        "not valid JSON: Expecting property name enclosed in double quotes at line 1 column 2",
    ),
    "comment": ("{} // all", "not valid JSON: Extra data at line 1 column 4"),
    "byte-order-mark": ("\ufeff{}", "it begins with a byte order mark: remove that"),
    "empty": ("", "not valid JSON: Expecting value at line 1 column 1"),
    "not-utf-8": (
        b'{"scriptsFile": "\xff"}',
        "not UTF-8: 'utf-8' codec can't decode byte 0xff in position 17: invalid start byte",
    ),
    "null-byte-in-script": (in_script(path="a\0b"), "script 'b': path: "),
    "null-byte-in-logs": (in_runner(logsDir="a\0b"), "runner.logsDir: "),
    "null-byte-in-history": (in_runner(jobStoreFile="a\0b"), "runner.jobStoreFile: "),
    "null-byte-in-scripts-file": ({"scriptsFile": "a\0b"}, "scriptsFile: "),
    "history-is-the-root": (in_runner(jobStoreFile="/"), "runner.jobStoreFile: "),
    "timeout-huge": (in_script(timeoutSec=10**400), "script 'b': timeoutSec: "),
    "line-feed-in-key": (
        {"a\nb": 1},
        "a\\nb: unknown key, remove it; known are server, runner, cluster, scriptsFile, scripts",
    ),
    "infinity": (
        '{"scripts": [], "port": Infinity}',
        "not valid JSON: Infinity is not a JSON number",
    ),
    "deep": ("[" * 100_000, "not valid JSON: "),
    "half-a-character": ('{"scriptsFile": "\\ud800"}', "half a surrogate pair is not valid text: "),
    "key-twice": (
        '{"scripts": [{"id": "a", "path": "./a.sh", "args": {"maxItems": 1, "maxItems": 9}}]}',
        "script 'a': args.maxItems: the key stands there more than once: remove all but one",
    ),
    "scripts-twice": (
        '{"scripts": [], "scripts": [{"id": "a", "path": "./a.sh"}]}',
        "scripts: the key stands there more than once: remove all but one",
    ),
}


@pytest.mark.parametrize(("config", "said"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_config_that_cannot_be_used_ends_start_with_one_line(
    tmp_path: Path, config: object, said: str
) -> None:
    path = write(tmp_path, config, {"scripts": [SCRIPT]})

    assert_one_line(path, f"{path}: {said}")


BAD_SCRIPTS = {
    "unknown-key": ({"scripts": [], "more": 1}, "more: unknown key, remove it; known are scripts"),
    "array": ([SCRIPT], "input should be an object"),
    "no-scripts": ({}, "scripts: missing, it must be there"),
    "id-twice": (
        {"scripts": [SCRIPT, SCRIPT]},
        "duplicate script id 'a' (listed 2 times)",
    ),
    "mode": (
        {"scripts": [{**SCRIPT, "mode": 1}]},
        "script 'a': mode: input should be 'sync' or 'async'",
    ),
    "not-json": ("no", "not valid JSON: Expecting value at line 1 column 1"),
    "not-utf-8": (
        b"\xfe",
        "not UTF-8: 'utf-8' codec can't decode byte 0xfe in position 0: invalid start byte",
    ),
}


@pytest.mark.parametrize(("scripts", "said"), BAD_SCRIPTS.values(), ids=BAD_SCRIPTS)
def test_a_scripts_file_that_cannot_be_used_ends_start_with_one_line(
    tmp_path: Path, scripts: object, said: str
) -> None:
    path = write(tmp_path, {"scriptsFile": "./scripts.json"}, scripts)

    assert_one_line(path, f"{tmp_path}/scripts.json: {said}")


def test_a_scripts_file_that_is_missing_ends_start_with_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, {"scriptsFile": "./gone.json"})

    assert_one_line(path, f"{tmp_path}/gone.json: no such file, but scriptsFile of {path} names it")


@pytest.mark.parametrize("path", ["config.json", "scripts.json"])
def test_a_folder_in_place_of_a_file_ends_start_with_one_line(tmp_path: Path, path: str) -> None:
    write(tmp_path, {"scriptsFile": "./scripts.json"})
    (tmp_path / path).unlink()
    (tmp_path / path).mkdir()

    assert_one_line(
        tmp_path / "config.json", f"{tmp_path / path}: is a folder: name the file in it"
    )


def test_all_faults_of_a_file_are_told_in_one_go(tmp_path: Path) -> None:
    bad = {"id": "b", "path": "./b.sh", "mode": "later", "args": {"pattern": "x"}}
    path = write(tmp_path, {"server": {"prot": 1}, "scripts": [SCRIPT, bad, SCRIPT]})

    result = CliRunner().invoke(main, ["start", f"--config={path}"])

    assert result.stderr == (
        f"Error: {path}: 4 faults:\n"
        "  duplicate script id 'a' (listed 2 times)\n"
        "  server.prot: unknown key, did you mean port?\n"
        "  script 'b': mode: input should be 'sync' or 'async'\n"
        "  script 'b': args.pattern: unknown key, did you mean itemPattern?\n"
    )


def test_the_process_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    path = write(tmp_path, in_server(port=-1))

    ended = subprocess.run(
        [sys.executable, "-m", "local_runner", "start", f"--config={path}"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (
        1,
        "",
        f"Error: {path}: server.port: input should be greater than or equal to 0\n",
    )


@pytest.fixture(autouse=True)
def never_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends `start` where it would serve a configuration that is tested for being refused."""

    def listen(config: ServerConfig) -> socket.socket:
        raise server.ServerError(f"the configuration was taken: {config}")

    monkeypatch.setattr(server, "listen", listen)


def assert_one_line(path: Path, said: str) -> None:
    """Start with a configuration; `said` may end in a colon where the rest is left open."""
    result = CliRunner().invoke(main, ["start", f"--config={path}"])

    assert (result.exit_code, result.stdout) == (1, "")
    line = f"Error: {said}"
    assert result.stderr.startswith(line) if said.endswith(": ") else result.stderr == f"{line}\n"
    assert (result.stderr.count("\n"), result.stderr[-1]) == (1, "\n")
