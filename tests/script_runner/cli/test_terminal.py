"""What scriptctl shows on a terminal."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.script_runner.cli.scriptctl import NOBODY, Terminal, let_go, screen


def test_a_bar_shows_how_far_the_script_is_and_goes_without_a_trace(
    url: str, tmp_path: Path
) -> None:
    with Terminal(url, "run", "percent", str(tmp_path)) as terminal:
        terminal.shows("━")
        assert re.search(r"━.* 40%", screen(terminal.written)[-1])
        let_go(tmp_path)
        assert terminal.ended() == 0
    assert screen(terminal.written) == ["at 40%", "at 90%", ""]


def test_there_is_no_bar_where_the_script_draws_one_itself(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    with Terminal(runner.url, "run", "draws", str(tmp_path)) as terminal:
        terminal.shows("at 40%")
        lines = len(runner.events)
        wait_until(lambda: len(runner.events) > lines + 3)  # of polls
        let_go(tmp_path)
        assert terminal.ended() == 0
    assert "━" not in terminal.written
    assert screen(terminal.written) == ["at 90%", ""]


def test_a_failure_is_said_below_an_open_line_and_leaves_no_bar(url: str) -> None:
    with Terminal(url, "run", "open") as terminal:
        assert terminal.ended() == 3
    wrote, said, end = screen(terminal.written)
    assert (wrote, end) == ("half a line", "")
    assert re.fullmatch(r"✗ job_\w+ failed with exit code 3 after .+", said)


def test_ctrl_c_leaves_the_terminal_clean(url: str, tmp_path: Path) -> None:
    with Terminal(url, "run", "percent", str(tmp_path)) as terminal:
        terminal.shows("━")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 130
    first, said, *rest = screen(terminal.written)
    assert (first, rest) == ("at 40%", [""])
    assert said.startswith("scriptctl: cancelling")


def test_tables_are_for_people_and_harmless(runner: RunnerProcess) -> None:
    runner.run("both")
    job = runner.run("args", "\x1b[8m")
    with Terminal(runner.url, "jobs", "-n1") as terminal:
        assert terminal.ended() == 0
    heads, row, older, end = screen(terminal.written)
    assert heads.split() == ["STATUS", "JOB", "SCRIPT", "ARGUMENTS", "ACCEPTED", "TOOK"]
    assert re.match(rf"✓ succeeded +{job['jobId']} +args +'\\x1b\[8m' +(just now|.* ago)", row)
    assert older.startswith("Older ones: scriptctl jobs --before job_")
    assert end == ""
    with Terminal(runner.url, "scripts") as terminal:
        assert terminal.ended() == 0
    heads, first, *_ = screen(terminal.written)
    assert heads.split() == ["SCRIPT", "DESCRIPTION", "ARGUMENTS", "TIME", "LIMIT", "NOW"]
    assert re.match(r"args +Prints \\x1b\[31mits arguments +up to 10 +at most 5 at once", first)
    with Terminal(runner.url, "status", job["jobId"]) as terminal:
        assert terminal.ended() == 0
    assert re.search(
        r"ended +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (just now|.* ago)",
        "\n".join(screen(terminal.written)),
    )


def test_a_narrow_terminal_has_fewer_columns_and_whole_ids(runner: RunnerProcess) -> None:
    job_ids = [runner.run("args", "x" * 100)["jobId"] for _ in range(2)]
    for columns, head in ((75, "ARGUMENTS"), (50, "JOB")):
        with Terminal(runner.url, "jobs", "-n1", COLUMNS=str(columns)) as terminal:
            assert terminal.ended() == 0
        heads, row, older, _ = screen(terminal.written)
        assert head in heads.split()
        assert job_ids[1] in row
        assert len(row) <= columns
        assert older == f"Older ones: scriptctl jobs --before {job_ids[1]}"


def test_no_color_means_none(runner: RunnerProcess) -> None:
    runner.run("both")
    shown = {}
    for variables in ({}, {"NO_COLOR": "1"}):
        with Terminal(runner.url, "jobs", "-n1", **variables) as terminal:
            assert terminal.ended() == 0
        shown[bool(variables)] = re.findall(r"\x1b\[(3\d|9\d)m", terminal.written)
    assert shown[False]
    assert not shown[True]


@pytest.fixture
def bash(url: str) -> Iterator[Terminal]:
    """bash, which completes at the key Tab and shows the line `<as it is>` at Ctrl-G."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(url, command=command, PATH=path, PS1="", HISTFILE="") as terminal:
        terminal.type('eval "$(_SCRIPTCTL_COMPLETE=bash_source scriptctl)"\n')
        show = 'echo "<$READLINE_LINE>"; READLINE_LINE='
        terminal.type(f"""bind -x '"\\C-g": {show}'; echo rea""dy\n""")
        terminal.shows("ready\r\n")
        yield terminal


def completed(bash: Terminal, typed: str) -> str:
    before = len(bash.written)
    bash.type(f"{typed}\t\x07")
    bash.shows(">\r\n", after=before)
    found = re.search(r"<(.*)>\r\n", bash.written[before:])
    assert found
    return found[1]


def test_bash_completes_whatever_the_ids_are_and_however_they_are_typed(
    bash: Terminal, runner: RunnerProcess
) -> None:
    job_id = runner.run("args")["jobId"]
    for typed, expected in {
        "scriptctl run liv": "scriptctl run live ",
        f"scriptctl --url {runner.url} run liv": f"scriptctl --url {runner.url} run live ",
        "scriptctl jobs --script=liv": "scriptctl jobs --script=live ",
        f"scriptctl logs {job_id}": f"scriptctl logs {job_id} ",
        "scriptctl run unseen": "scriptctl run unseen",
        f"scriptctl --url {NOBODY} run liv": f"scriptctl --url {NOBODY} run liv",
    }.items():
        assert completed(bash, typed) == expected
    for typed, inserted in {
        "odd": r"odd:it\'s\ \$\(a\)\ b",
        "odd:": r"odd:it\'s\ \$\(a\)\ b",
        r"odd:it\'s\ ": r"odd:it\'s\ \$\(a\)\ b",
        '"odd:it': r'''"odd:it's \$(a) b"''',
        "'odd": r"""'odd:it'\''s $(a) b'""",
    }.items():
        assert completed(bash, f"scriptctl run {typed}") == f"scriptctl run {inserted} "
