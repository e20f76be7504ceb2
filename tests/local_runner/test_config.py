"""`config.json` and `scripts.json`: what is read, and what is put where nothing is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from local_runner.config import ServerConfig, load

SAMPLE_CONFIG = """
{"server":{"host":"0.0.0.0","port":8080},
 "runner":{"maxConcurrent":4,"defaultMode":"sync","maxLogBytesPerStream":1048576,"previewMaxBytes":4096,
           "jobStoreFile":"./jobs.json","logsDir":"./logs"},
 "scriptsFile":"./scripts.json"}
"""
SAMPLE_SCRIPTS = r"""
{"scripts":[{"id":"quick-echo","path":"./examples/quick-echo.sh","mode":"sync","timeoutSec":30,
             "args":{"maxItems":5,"itemPattern":"^[a-zA-Z0-9._-]+$","itemMaxLength":200}}]}
"""
"""Both as the reference server has them."""

SCRIPT = {"id": "a", "path": "./a.sh"}

NOBODY = 65534
"""A user who owns nothing."""


def write(folder: Path, config: object, scripts: object = None) -> Path:
    """Write the files: bytes and text as they are, anything else as JSON."""
    for name, content in (("config.json", config), ("scripts.json", scripts)):
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "config.json"


def test_the_files_of_the_reference_server_are_taken_unchanged(tmp_path: Path) -> None:
    config = load(write(tmp_path, SAMPLE_CONFIG, SAMPLE_SCRIPTS))

    assert config.server == ServerConfig(host="0.0.0.0", port=8080)
    assert config.runner.model_dump() == {
        "max_concurrent": 4,
        "default_mode": "sync",
        "max_log_bytes_per_stream": 1048576,
        "preview_max_bytes": 4096,
        "job_store_file": f"{tmp_path}/jobs.json",
        "logs_dir": f"{tmp_path}/logs",
        "max_jobs": 10_000,
        "kill_grace_seconds": 5.0,
    }
    assert [script.model_dump() for script in config.scripts] == [
        {
            "id": "quick-echo",
            "path": f"{tmp_path}/examples/quick-echo.sh",
            "mode": "sync",
            "timeout_sec": 30,
            "args": {
                "max_items": 5,
                "item_pattern": "^[a-zA-Z0-9._-]+$",
                "item_max_length": 200,
            },
        }
    ]
    assert config.database == tmp_path / "jobs.sqlite3"


def test_everything_but_the_scripts_has_a_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, {"scripts": [SCRIPT]}))

    assert config.model_dump(exclude={"runner", "scripts"}) == {
        "server": {
            "host": "127.0.0.1",
            "port": 3000,
            "allowed_hosts": (),
            "allowed_origins": (),
            "allow_unauthenticated": False,
        },
        "scripts_file": None,
    }
    assert config.runner.model_dump() == {
        "max_concurrent": 1,
        "default_mode": "sync",
        "max_log_bytes_per_stream": 1048576,
        "preview_max_bytes": 4096,
        "job_store_file": f"{tmp_path}/jobs.json",
        "logs_dir": f"{tmp_path}/logs",
        "max_jobs": 10_000,
        "kill_grace_seconds": 5.0,
    }
    assert [script.model_dump() for script in config.scripts] == [
        {
            "id": "a",
            "path": f"{tmp_path}/a.sh",
            "mode": None,
            "timeout_sec": 0,
            "args": {"max_items": 10, "item_pattern": r"^[\s\S]*$", "item_max_length": 1024},
        }
    ]


def test_paths_are_relative_to_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    for folder in (etc, elsewhere):
        folder.mkdir()
    write(elsewhere, None, {"scripts": [{"id": "a", "path": "../a.sh"}, {"id": "b", "path": "/b"}]})
    write(
        etc,
        {
            "runner": {"jobStoreFile": "state/jobs.json", "logsDir": "/var/log/runner"},
            "scriptsFile": "../elsewhere/scripts.json",
        },
    )
    monkeypatch.chdir(tmp_path)

    config = load(Path("etc/config.json"))

    assert (config.scripts_file, config.runner.logs_dir, str(config.database)) == (
        f"{tmp_path}/elsewhere/scripts.json",
        "/var/log/runner",
        f"{tmp_path}/etc/state/jobs.sqlite3",
    )
    assert [script.path for script in config.scripts] == [f"{tmp_path}/a.sh", "/b"]


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost.", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("host.docker.internal", False),
    ],
)
def test_which_hosts_are_loopback(host: str, is_loopback: bool) -> None:
    assert ServerConfig(host=host).is_loopback is is_loopback


def problems_of(folder: Path, *paths: Path) -> list[str | None]:
    """What is wrong with some scripts."""
    listed = [{"id": str(number), "path": str(path)} for number, path in enumerate(paths)]
    return [script.problem for script in load(write(folder, {"scripts": listed})).scripts]


def test_what_is_wrong_with_a_script_is_said_in_words(tmp_path: Path) -> None:
    loop, plain = tmp_path / "loop", tmp_path / "plain"
    loop.symlink_to(loop)
    plain.touch()

    assert problems_of(
        tmp_path, tmp_path / "gone", plain / "x", tmp_path, plain, loop, tmp_path / ("x" * 300)
    ) == [
        "no such file",
        "no such file",
        "no such file",
        "not executable, run chmod +x on it",
        "cannot be looked at: Too many levels of symbolic links",
        "cannot be looked at: File name too long",
    ]


def test_a_script_in_a_folder_that_may_not_be_searched_is_a_problem_in_words(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    listed = [{"id": "a", "path": str(closed / "a.sh")}]
    (script,) = load(write(tmp_path, {"scripts": listed})).scripts
    user = os.geteuid()
    # Root may search every folder.
    os.seteuid(user or NOBODY)
    try:
        assert script.problem == "cannot be looked at: Permission denied"
    finally:
        os.seteuid(user)
