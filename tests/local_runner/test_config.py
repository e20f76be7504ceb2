"""`config.json` and `scripts.json`: what is read, and what is put where nothing is said."""

from __future__ import annotations

import json
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


NOTHING_OF_ITS_OWN: dict[str, object] = {
    "labels": (),
    "description": None,
    "working_dir": None,
    "env": {},
    "max_concurrent": None,
    "launcher": (),
}
"""The keys of a script that the reference server does not have."""


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
            **NOTHING_OF_ITS_OWN,
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
        "cluster": None,
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
            **NOTHING_OF_ITS_OWN,
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


FIRST_CONFIG = """
{"server":{"host":"127.0.0.1","port":8080},
 "runner":{"maxConcurrent":4,"defaultMode":"sync","stdoutMaxBytes":65536,"stderrMaxBytes":131072,
           "jobStoreFile":"./jobs.json"},
 "scriptsFile":"./scripts.json"}
"""
"""As the first version of the reference server had it."""


def test_a_configuration_of_an_older_reference_server_is_taken_unchanged(tmp_path: Path) -> None:
    config = load(write(tmp_path, FIRST_CONFIG, SAMPLE_SCRIPTS))

    assert config.runner.max_log_bytes_per_stream == 65536


LOG_LIMIT = 1024 * 1024


@pytest.mark.parametrize(
    ("runner", "key", "value"),
    [
        ({"maxConcurrent": "4"}, "max_concurrent", 4),
        ({"maxConcurrent": " 0x10 "}, "max_concurrent", 16),
        ({"maxConcurrent": 30.0}, "max_concurrent", 30),
        ({"maxConcurrent": 1e3}, "max_concurrent", 1000),
        ({"maxConcurrent": 0}, "max_concurrent", 1),
        ({"maxConcurrent": ""}, "max_concurrent", 1),
        ({"killGraceSeconds": "0.5"}, "kill_grace_seconds", 0.5),
        ({"maxLogBytesPerStream": 0}, "max_log_bytes_per_stream", LOG_LIMIT),
        ({"maxLogBytesPerStream": 0, "stderrMaxBytes": "9"}, "max_log_bytes_per_stream", 9),
        ({"maxLogBytesPerStream": 7, "stdoutMaxBytes": 8}, "max_log_bytes_per_stream", 7),
        ({"stdoutMaxBytes": None, "stderrMaxBytes": 9}, "max_log_bytes_per_stream", 9),
        ({"previewMaxBytes": 0}, "preview_max_bytes", 0),
        ({"defaultMode": ""}, "default_mode", "sync"),
        ({"defaultMode": None}, "default_mode", "sync"),
    ],
)
def test_what_the_reference_server_gives_a_meaning_to_is_accepted(
    tmp_path: Path, runner: dict[str, object], key: str, value: object
) -> None:
    config = load(write(tmp_path, {"runner": runner, "scripts": [SCRIPT]}))

    assert getattr(config.runner, key) == value


def test_null_and_empty_text_stand_for_an_absent_value(tmp_path: Path) -> None:
    plain = load(write(tmp_path, {"scripts": [SCRIPT]}))
    nothing = {"mode": "", "timeoutSec": None, "args": {"maxItems": None, "itemPattern": ""}}
    server = {"host": "", "port": "", "allowedHosts": None}

    for content in (
        {"server": server, "runner": {"logsDir": ""}, "scripts": [{**SCRIPT, **nothing}]},
        {"server": None, "runner": None, "scriptsFile": "", "scripts": [{**SCRIPT, "args": None}]},
    ):
        assert load(write(tmp_path, content)) == plain


def test_a_scripts_file_wins_over_scripts_and_a_warning_says_so(tmp_path: Path) -> None:
    here = {"scriptsFile": "./scripts.json", "scripts": [{"id": "b", "path": "./b.sh"}]}

    config = load(path := write(tmp_path, here, {"scripts": [SCRIPT]}))

    assert [script.id for script in config.scripts] == ["a"]
    assert config.warnings == [
        f"{path}: scripts: not used, as scriptsFile names {tmp_path}/scripts.json"
    ]


def test_paths_of_a_linked_file_count_from_the_folder_of_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    for folder in (target, link):
        folder.mkdir()
    write(target, {"scriptsFile": "./scripts.json"}, {"scripts": [SCRIPT]})
    for name in ("config.json", "scripts.json"):
        (link / name).symlink_to(target / name)

    config = load(link / "config.json")

    assert config.runner.logs_dir == f"{link}/logs"
    assert [script.path for script in config.scripts] == [f"{link}/a.sh"]


def test_a_path_that_goes_back_over_a_link_is_taken_by_its_text_with_a_warning(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    for folder in (tmp_path, tmp_path / "elsewhere"):
        (folder / "a.sh").touch(0o755)

    config = load(write(tmp_path, {"scripts": [{"id": "a", "path": "./link/../a.sh"}]}))

    assert config.scripts[0].path == f"{tmp_path}/a.sh"
    assert config.warnings == [
        "./link/../a.sh: .. comes after a link and is taken by the text: this is "
        f"{tmp_path}/a.sh, not {tmp_path}/elsewhere/a.sh as in a shell; write the path without .."
    ]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://Tools.Example/", "https://tools.example"),
        ("https://tools.example:443", "https://tools.example"),
        ("http://tools.example:080", "http://tools.example"),
        ("http://tools.example:443", "http://tools.example:443"),
        ("https://B\u00fccher.example:8443", "https://xn--bcher-kva.example:8443"),
        ("https://fa\u00df.example", "https://xn--fa-hia.example"),
        ("https://\u2603.example", "https://xn--n3h.example"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_taken_as_a_browser_sends_it(tmp_path: Path, written: str, sent: str) -> None:
    content = {"server": {"allowedOrigins": [written]}, "scripts": [SCRIPT]}

    assert load(write(tmp_path, content)).server.allowed_origins == (sent,)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("B\u00dcCHER.example.", "xn--bcher-kva.example"),
        ("\u65e5\u672c\u8a9e\u3002\uff4a\uff50", "xn--wgv71a119e.jp"),
        ("[FD00:0::1]", "fd00::1"),
        ("box_1.local", "box_1.local"),
    ],
)
def test_a_host_is_taken_as_a_request_names_it(tmp_path: Path, written: str, sent: str) -> None:
    content = {"server": {"allowedHosts": [written]}, "scripts": [SCRIPT]}

    assert load(write(tmp_path, content)).server.allowed_hosts == (sent,)


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
