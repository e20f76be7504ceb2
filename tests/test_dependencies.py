"""What is installed, what says so, and what `make audit` says of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import audit
from scripts.audit import BILL, NOTHING, Package, known_vulnerabilities, problems_of

VERSIONS = {"attrs": "26.1.0", "httpx": "0.28.1"}
CLEAN = {"name": "attrs", "version": "26.1.0", "vulns": []}
WEAK = {
    "name": "httpx",
    "version": "0.28.1",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["0.28.2"]}],
}
UNKNOWN = {"name": "httpx", "skip_reason": "not found"}


PINS = audit.read_pins()


def rows_of(bill: str) -> dict[str, dict[str, list[str]]]:
    """The rows of each extra's table by its title, each by the name of its package.

    Without pip, which comes with Python in one version or another.
    """
    tables = re.findall(r"^## (.*)\n\n\|.*\n\|.*\n((?:\|.*\n)+)", bill, flags=re.MULTILINE)
    split = {title: [line.split(" | ") for line in rows.splitlines()] for title, rows in tables}
    return {
        title: {row[0].removeprefix("| "): row[1:] for row in rows if row[0] != "| pip"}
        for title, rows in split.items()
    }


BILLED = rows_of(BILL.read_text("utf-8"))


# Without `bench`, which has an environment of its own.
@pytest.mark.parametrize("extra", [NOTHING, "runner", "dev"])
def test_the_bill_is_what_is_installed(extra: str) -> None:
    title = audit._TITLES[extra]
    made = rows_of(audit.bill_as_markdown())[title]
    if [name for name, row in made.items() if row[0] != PINS.get(name)]:
        pytest.skip(f"what is installed for {extra!r} is not what constraints.txt pins")

    assert BILLED[title] == made


def test_the_bill_has_every_extra_in_the_versions_that_are_pinned() -> None:
    assert list(BILLED) == list(audit._TITLES.values())
    for rows in BILLED.values():
        assert {name: row[0] for name, row in rows.items()} == {name: PINS[name] for name in rows}


def test_the_bill_names_what_pyproject_names() -> None:
    billed = {name for rows in BILLED.values() for name in rows}
    wanted = {
        canonicalize_name(Requirement(text).name)
        for texts in audit.requirements_of_project().values()
        for text in texts
    }

    assert wanted - billed == set()


def test_a_block_installs_what_httpx_and_attrs_need_and_no_more() -> None:
    names = {"anyio", "attrs", "certifi", "h11", "httpcore", "httpx", "idna", "typing-extensions"}
    assert audit.bill()[NOTHING].keys() == names


def test_what_is_installed_satisfies_pyproject_and_constraints() -> None:
    pins = audit.read_pins()
    for extra in (NOTHING, "runner"):
        packages = audit.resolve(audit.requirements_of_project()[extra])
        assert problems_of(packages, pins) == []


def test_what_does_not_satisfy_is_named_with_who_says_so() -> None:
    packages = audit.resolve(["attrs<1", "httpx", "no-such-package-at-all"])

    problems = problems_of(packages, {"httpx": "0.0.1"})

    assert len(problems) == 3
    assert re.fullmatch(r"attrs is [\d.]+: this project wants attrs<1", problems[0])
    assert re.fullmatch(r"httpx is [\d.]+: constraints.txt pins 0.0.1", problems[1])
    assert problems[2] == "no-such-package-at-all is not installed, needed by this project"


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ([CLEAN], ([], None)),
        ([CLEAN, WEAK], (["httpx 0.28.1: PYSEC-2026-1, mended in 0.28.2"], None)),
        ([CLEAN, UNKNOWN], ([], "pypi does not know httpx")),
    ],
)
def test_a_report_is_read(
    monkeypatch: pytest.MonkeyPatch,
    packages: list[dict[str, object]],
    expected: tuple[list[str], str | None],
) -> None:
    report = json.dumps({"dependencies": packages})
    monkeypatch.setattr(audit, "_run_pip_audit", lambda *_: (report, ""))

    assert known_vulnerabilities(VERSIONS) == expected


def test_a_source_that_knows_nothing_or_does_not_answer_is_not_taken_for_good_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing_known = json.dumps({"dependencies": [UNKNOWN, {**UNKNOWN, "name": "attrs"}]})
    answers = {"pypi": (nothing_known, ""), "osv": (None, "no route to host")}
    monkeypatch.setattr(audit, "_run_pip_audit", lambda _, service: answers[service])

    findings, why_not = known_vulnerabilities(VERSIONS)

    assert findings == []
    assert why_not == "pypi: it knows none of the packages; osv: no route to host"


@pytest.mark.parametrize(
    ("findings", "why_not", "expected", "said"),
    [
        ([], None, 0, "No known vulnerabilities."),
        ([], "pypi: no route", 0, "Not all could be checked for known vulnerabilities"),
        (["httpx 0: PYSEC-1, mended in 1"], None, 1, "  httpx 0: PYSEC-1, mended in 1"),
        (
            ["httpx 0: PYSEC-1, mended in 1"],
            "pypi does not know attrs",
            1,
            "  httpx 0: PYSEC-1, mended in 1\n"
            "They satisfy pyproject.toml and constraints.txt.\n"
            "Not all could be checked for known vulnerabilities: pypi does not know attrs\n",
        ),
    ],
)
def test_the_audit_fails_for_findings_only_and_says_what_it_could_not_check(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    findings: list[str],
    why_not: str | None,
    expected: int,
    said: str,
) -> None:
    package = Package("attrs", "26.1.0", "MIT", {"httpx"})
    monkeypatch.setattr(audit, "resolve", lambda _: {"attrs": package})
    monkeypatch.setattr(audit, "read_pins", lambda: {"attrs": "26.1.0"})
    monkeypatch.setattr(audit, "known_vulnerabilities", lambda _: (findings, why_not))

    assert audit.main([]) == expected

    assert said in capsys.readouterr().out


def test_without_a_network_the_audit_says_of_each_service_that_it_was_not_reached() -> None:
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.audit"],
        cwd=audit.ROOT,
        env={**os.environ, **nowhere, "NO_PROXY": "", "no_proxy": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()[-1]
    assert re.match("Not all could be checked for known vulnerabilities: pypi: .*; osv: ", said)
    assert said.count("Unable to connect to proxy") == 2
