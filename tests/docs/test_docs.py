"""The documents agree with the code: links, commands, configuration keys, error codes, limits."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

import script_runner
from local_runner.cli import main as runner_command
from local_runner.cluster.config import AgentConfig
from local_runner.config import (
    ArgsConfig,
    ClusterConfig,
    Config,
    RunnerConfig,
    ScriptConfig,
    ServerConfig,
    load,
)
from local_runner.http import protocol
from local_runner.http.bodies import MAX_BODY_BYTES
from local_runner.processes.local import OPEN_PIPE_SECONDS
from script_runner import Settings, errors
from script_runner.cli.options import Options
from script_runner.oomol.node import MAX_LINES
from tests.docs.keys import assert_agree, documented_keys, modelled_keys
from tests.docs.markdown import (
    README,
    ROOT,
    anchors,
    code_blocks,
    code_of,
    flat_text,
    markdown_files,
    read_sections,
    section_of,
)
from tests.support.block_runner import run_block
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Step,
    http_response,
    json_response,
)
from tests.support.spec import described_responses

ERRORS = ROOT / "docs" / "errors.md"
LOCAL_RUNNER = ROOT / "docs" / "local-runner.md"
CLUSTER = ROOT / "docs" / "cluster.md"
SETTINGS = Settings()
MIB, KIB = 2**20, 2**10


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=markdown_files(), ids=name_of)
def document(request: pytest.FixtureRequest) -> Path:
    """Each Markdown file in turn."""
    return Path(request.param)


# -- links and commands


def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(document: Path) -> None:
    broken = []
    for link in (link for section in read_sections(document) for link in section.links):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_make_target_that_is_named_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    named = set()
    for section in read_sections(document):
        shell = [block.text for block in section.code_blocks if block.language == "sh"]
        for code in [*section.inline_code, *shell]:
            for words in re.findall(r"^make ([^\n]+)", code, re.MULTILINE):
                named |= {word for word in words.split() if "=" not in word}

    assert sorted(named - targets) == []


def test_the_changelog_and_the_package_have_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    package = yaml.safe_load((ROOT / "package.oo.yaml").read_text("utf-8"))
    titles = [section.title for section in read_sections(ROOT / "CHANGELOG.md")]

    assert package["version"] == version
    unreleased, newest = [title for title in titles if title.startswith("[")][:2]
    assert unreleased == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", newest)


@pytest.mark.parametrize("index", [README, ROOT / "docs" / "README.md"], ids=name_of)
def test_an_index_lists_every_page(index: Path) -> None:
    pages = {*(ROOT / "docs").glob("*.md"), *ROOT.glob("[CS]*.md")}
    rows = [link for section in read_sections(index) for link in section.links]

    listed = {(index.parent / link).resolve() for link in rows}
    assert {name_of(page) for page in pages - listed - {index}} == set()


def test_every_command_of_the_local_runner_that_is_named_is_one(document: Path) -> None:
    for command in sorted(commands_of(document, "local-runner")):
        words = shlex.split(command, comments=True)
        verb, options = words[1:2], words[2:]
        if verb and "--help" not in options:
            runner_command.commands[verb[0]].make_context(verb[0], options).close()


def commands_of(document: Path, program: str) -> set[str]:
    """The command lines of a program in code, but for what a shell makes of them."""
    found = set()
    for section in read_sections(document):
        shell = [block.text for block in section.code_blocks if block.language == "sh"]
        for code in [*section.inline_code, *shell]:
            found |= set(re.findall(rf"^{program}\b[^\n|&;>]*", code, re.MULTILINE))
    return found


# -- docs/local-runner.md


def test_every_key_of_config_json_is_documented_with_its_type_and_default() -> None:
    modelled = {
        **modelled_keys("server.", ServerConfig),
        **modelled_keys("runner.", RunnerConfig),
        **modelled_keys("", Config),
    }

    assert_agree(documented_keys(LOCAL_RUNNER, "config.json"), modelled)


def test_every_key_of_scripts_json_is_documented_with_its_type_and_default() -> None:
    modelled = {**modelled_keys("", ScriptConfig), **modelled_keys("args.", ArgsConfig)}

    assert_agree(documented_keys(LOCAL_RUNNER, "scripts.json"), modelled)


def test_the_scripts_json_that_is_shown_is_valid(tmp_path: Path) -> None:
    (shown,) = code_blocks(LOCAL_RUNNER, "json")
    (tmp_path / "config.json").write_text('{"scriptsFile": "./scripts.json"}')
    (tmp_path / "scripts.json").write_text(shown)

    (script,) = load(tmp_path / "config.json").scripts

    assert (script.id, script.path) == ("hello", str(tmp_path / "hello.sh"))


def test_every_key_of_a_front_and_of_an_agent_is_documented_with_its_type_and_default() -> None:
    assert_agree(documented_keys(CLUSTER, "config.json"), modelled_keys("", ClusterConfig))
    assert_agree(documented_keys(CLUSTER, "agent.json"), modelled_keys("", AgentConfig))


def test_every_refusal_of_the_guard_is_documented() -> None:
    (table,) = section_of(LOCAL_RUNNER, "Who may call").tables

    documented = {(int(row[1].split()[0]), code_of(row[1])[0]) for row in table[1:]}
    described = {
        (response.status, response.body["error"]["code"])
        for response in described_responses()
        if response.status in (401, 403, 413, 415)
    }
    assert documented == described


# -- docs/errors.md


def test_every_error_code_of_the_api_has_a_row_with_its_status() -> None:
    (table,) = section_of(ERRORS, "RequestRejected").tables

    documented = {(int(row[0]), code_of(row[1])[0]) for row in table[1:] if row[1] != "none"}
    described = {
        (response.status, response.body["error"]["code"])
        for response in described_responses()
        if response.schema == "Error"
    }
    assert documented == described


def test_every_class_of_errors_has_its_section() -> None:
    family = errors.ScriptRunnerError.__subclasses__()
    # The command line has one of its own, which is there once a test has imported it.
    classes = [error.__name__ for error in family if error.__module__ == errors.__name__]
    titles = [section.title for section in read_sections(ERRORS)[2:]]

    assert sorted(titles) == sorted(classes)
    for title in titles:
        section = section_of(ERRORS, title)
        assert re.findall(r"^\*(\w+):\*", section.prose, re.MULTILINE)[:2] == ["When", "Message"]
        assert any(word in section.prose for word in ("*Remedy:*", "| remedy |"))


def test_the_tree_of_errors_is_that_of_the_module() -> None:
    (tree,) = code_blocks(ERRORS, "text")

    assert errors.__doc__ is not None
    assert tree.strip().splitlines() == [
        line.strip() for line in errors.__doc__.splitlines() if line.startswith("    ")
    ]


HTML = b"<!doctype html>" + b"<p>This is something else.</p>\n" * 20
BODIES = {
    (response.operation, response.example): response.body for response in described_responses()
}
RUNNING = {**BODIES["getJob", "running"], "jobId": "job_1"}
QUOTED: dict[str, tuple[Step, str, dict[str, object]]] = {
    "InvalidInput": (Action.CLOSE, "get-job-logs", {"job_id": "job_1", "offset": -1}),
    "RunnerUnreachable": (Action.CLOSE, "get-job-status", {"job_id": "job_1"}),
    "RequestTimedOut": (
        json_response(200, RUNNING),
        "wait-for-job",
        {"job_id": "job_1", "timeout_seconds": 0},
    ),
    "RequestRejected": (
        json_response(400, BODIES["runScript", "script-not-found"]),
        "run-script-async",
        {"script_id": "backup"},
    ),
    "InvalidResponse": (http_response(200, HTML), "get-job-status", {"job_id": "job_1"}),
}
"""What a server does, and which block with which inputs then says what is quoted of each class."""


@pytest.mark.parametrize("error", QUOTED)
def test_a_message_quoted_in_the_documents_is_what_comes(error: str) -> None:
    step, block, inputs = QUOTED[error]
    prose = section_of(ERRORS, error).prose
    quoted = re.search(r"^\*Message:\* `(.+)`$", prose, re.MULTILINE)
    assert quoted is not None

    # A log that cannot be read never ends a wait.
    with MisbehavingServer(
        lambda request: [Action.CLOSE if "/logs" in request.target else step]
    ) as server:
        if error == "RunnerUnreachable":
            server.__exit__()
        with pytest.raises(getattr(script_runner, error)) as caught:
            run_block(block, script_runner_url=server.url, **inputs)

    assert without_details(quoted[1]) == without_details(str(caught.value))


def without_details(text: str) -> str:
    """A message without what is another each time: port, system, script, seconds, end of a body."""
    for pattern, instead in (
        (r"(127\.0\.0\.1|host\.docker\.internal):\d+", r"\1:PORT"),
        (r"\[Errno \d+\]", "[Errno]"),
        (r"after \d+ s", "after SECONDS"),
        (r"script not found: \w+", "script not found: SCRIPT"),
        (r'(<!doctype html>)[^"]*…', r"\1…"),
    ):
        text = re.sub(pattern, instead, text)
    return text


# -- limits


def default(key: str) -> int:
    """A default of the section `runner` of config.json."""
    return int(RunnerConfig.model_fields[key].default)


CONNECT, RESPONSE = f"{SETTINGS.connect_seconds:g}", f"{SETTINGS.response_seconds:g}"
SYNC_RUN = f"{SETTINGS.sync_run_seconds:g}"
LOG_BYTES, MAX_JOBS = default("max_log_bytes_per_stream"), default("max_jobs")
# A poll, and a tenth of a second to ask and to read.
SHOWN_WITHIN = Options().runner().settings.max_poll_seconds + 0.1
QUOTED_LIMITS = [
    (README, f"A connection may take {CONNECT} s, a response {RESPONSE} s"),
    (README, f"a sync run {SYNC_RUN} s"),
    (README, f"for {SYNC_RUN} seconds at most"),
    (README, f"A response may have {SETTINGS.max_response_bytes / MIB:g} MiB"),
    (README, f"A runner keeps the first {LOG_BYTES / MIB:g} MiB of each stream"),
    (README, f"passes on at most {MAX_LINES:,} lines of each stream"),
    (README, f"keeps the last {MAX_JOBS:,} jobs by default"),
    (ERRORS, f"no connection within {CONNECT} s"),
    (
        ERRORS,
        f"within {RESPONSE} s ({SYNC_RUN} s for a sync run)",
    ),
    (ERRORS, f"larger than {SETTINGS.max_response_bytes / MIB:g} MiB"),
    (ERRORS, f"more than {MAX_BODY_BYTES / MIB:g} MiB were sent"),
    (LOCAL_RUNNER, f"a body is at most {MAX_BODY_BYTES / MIB:g} MiB"),
    (LOCAL_RUNNER, "holds the job up for one second" if OPEN_PIPE_SECONDS == 1 else "?"),
    (LOCAL_RUNNER, f"may take {protocol.HEAD_SECONDS:g} s"),
    (LOCAL_RUNNER, f"{protocol.MAX_HEAD_BYTES / KIB:g} KiB and {protocol.MAX_HEADERS} lines"),
    (LOCAL_RUNNER, f"its body may take {protocol.BODY_SECONDS:g} s"),
    (LOCAL_RUNNER, f"{protocol.RESPONSE_SECONDS:g} s to take the response"),
    (ROOT / "docs" / "scriptctl.md", f"within {SHOWN_WITHIN:.1f} s of its being written"),
    (ROOT / "docs" / "architecture.md", f"every {SETTINGS.line_start_bytes / KIB:g} KiB of a log"),
]


@pytest.mark.parametrize(("path", "phrase"), QUOTED_LIMITS)
def test_a_limit_is_quoted_as_the_code_has_it(path: Path, phrase: str) -> None:
    assert phrase in flat_text(path)
