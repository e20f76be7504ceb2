"""Check what is installed: against pyproject.toml, constraints.txt and known vulnerabilities.

With `--write` it writes `docs/dependencies.md` from what is installed, which is `make bill`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
BILL = ROOT / "docs" / "dependencies.md"
PROJECT = "this project"
NOTHING = "none"
BENCH = "bench"
SERVICES = ("pypi", "osv")
"""Where pip-audit asks, in this order."""

SERVICE_SECONDS = 15
BILL_ENVIRONMENT = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
"""The bill is that of the oldest Python on Linux, wherever it is written."""

_HEAD = """\
# What is installed

Written by `make bill` from the metadata of what is installed, for Python 3.11 on Linux.
`make audit` checks what is installed here. A block needs the first table and no more.
"""
_TITLES = {
    NOTHING: "Without an extra: the blocks and the SDK",
    "runner": "`[runner]` adds: the local runner",
    "dev": "`[dev]` adds: the development",
    BENCH: "`[bench]` adds: the measurements",
}
"""The extras. `make setup` installs all but `bench`, which has an environment of its own."""


@dataclasses.dataclass
class Package:
    """A package that is installed because something needs it.

    Attributes:
        version: None where it is not installed.
        needed_by: The names of the packages, or `PROJECT`.
        refused_by: Requirements that the version does not satisfy, each with who says so.
    """

    name: str
    version: str | None
    license: str
    needed_by: set[str] = dataclasses.field(default_factory=set)
    refused_by: list[str] = dataclasses.field(default_factory=list)


def requirements_of_project() -> dict[str, list[str]]:
    """The direct requirements by the extra that installs them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = {NOTHING: project["dependencies"], **project["optional-dependencies"]}
    return {extra: requirements[extra] for extra in _TITLES}


def resolve(
    requirements: Iterable[str], environment: Mapping[str, str] | None = None
) -> dict[str, Package]:
    """Walk from direct requirements to all that they need, through installed metadata.

    Args:
        requirements: As in pyproject.toml.
        environment: Values of environment markers; those of this Python where none are given.
    """
    packages: dict[str, Package] = {}
    waiting = [(Requirement(text), PROJECT) for text in requirements]
    walked: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement, parent = waiting.pop()
        name = canonicalize_name(requirement.name)
        package = packages.get(name) or _installed(name)
        packages[name] = package
        package.needed_by.add(parent)
        if package.version is None:
            continue
        if not requirement.specifier.contains(package.version, prereleases=True):
            package.refused_by.append(f"{parent} wants {name}{requirement.specifier}")
        extras = frozenset(requirement.extras)
        if (name, extras) not in walked:
            walked.add((name, extras))
            waiting += [(needed, name) for needed in _needs(name, extras, environment or {})]
    return dict(sorted(packages.items()))


def _installed(name: str) -> Package:
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return Package(name, None, "unknown")
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in found.get_all("classifier") or []
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    expression, text = (found.get_all(key) or [""] for key in ("license-expression", "license"))
    said = expression[0] or ", ".join(classifiers) or text[0].strip().partition("\n")[0]
    return Package(name, found["version"], said or "unknown")


def _needs(name: str, extras: Iterable[str], environment: Mapping[str, str]) -> list[Requirement]:
    needed = map(Requirement, metadata.requires(name) or [])
    variants = [{**environment, "extra": extra} for extra in ("", *extras)]
    return [
        requirement
        for requirement in needed
        if requirement.marker is None or any(map(requirement.marker.evaluate, variants))
    ]


def is_installed(requirements: Iterable[str]) -> bool:
    """Whether all direct requirements are there, in whatever version."""
    return all(
        _installed(canonicalize_name(Requirement(text).name)).version for text in requirements
    )


def bill() -> dict[str, dict[str, Package]]:
    """What each extra adds to what is installed without it."""
    without: set[str] = set()
    added: dict[str, dict[str, Package]] = {}
    for extra, requirements in requirements_of_project().items():
        packages = resolve(requirements, BILL_ENVIRONMENT)
        added[extra] = {name: found for name, found in packages.items() if name not in without}
        without |= packages.keys()
    return added


def bill_as_markdown() -> str:
    """The text of `docs/dependencies.md`."""
    parts = [_HEAD]
    for extra, packages in bill().items():
        lines = [
            f"| {package.name} | {package.version or 'not installed'} | {package.license} "
            f"| {', '.join(sorted(package.needed_by))} |"
            for package in packages.values()
        ]
        table = ["| package | version | license | needed by |", "|---|---|---|---|", *lines]
        parts.append("\n".join([f"## {_TITLES[extra]}", "", *table, ""]))
    return "\n".join(parts)


def problems_of(packages: Mapping[str, Package], pins: Mapping[str, str]) -> list[str]:
    """What is installed and should not be, or the other way round.

    Args:
        packages: See `resolve`.
        pins: The versions of constraints.txt by name.
    """
    problems = []
    for name, package in packages.items():
        if package.version is None:
            needed_by = ", ".join(sorted(package.needed_by))
            problems.append(f"{name} is not installed, needed by {needed_by}")
            continue
        problems += [f"{name} is {package.version}: {why}" for why in package.refused_by]
        if pins.get(name, package.version) != package.version:
            problems.append(f"{name} is {package.version}: constraints.txt pins {pins[name]}")
    return problems


def read_pins() -> dict[str, str]:
    """The versions of constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def known_vulnerabilities(versions: Mapping[str, str]) -> tuple[list[str], str | None]:
    """Ask pip-audit for known vulnerabilities.

    Args:
        versions: The installed version of each package.

    Returns:
        One line for each vulnerability, and why not all packages could be checked, or None.
    """
    reasons = []
    for service in SERVICES:
        report, reason = _run_pip_audit(versions, service)
        if report is not None:
            findings, unchecked = _read_report(report)
            if len(unchecked) < len(versions):
                names = ", ".join(unchecked)
                return findings, f"{service} does not know {names}" if unchecked else None
            reason = "it knows none of the packages"
        reasons.append(f"{service}: {reason}")
    return [], "; ".join(reasons)


def _run_pip_audit(versions: Mapping[str, str], service: str) -> tuple[str | None, str]:
    """The JSON report of pip-audit, or None and why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "installed.txt")
        pinned.write_text("".join(f"{name}=={found}\n" for name, found in versions.items()))
        options = [f"--vulnerability-service={service}", f"--timeout={SERVICE_SECONDS}"]
        options += ["--no-deps", "--disable-pip", f"--requirement={pinned}"]
        options += ["--format=json", "--progress-spinner=off"]
        command = [sys.executable, "-m", "pip_audit", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    # It ends with 1 for a finding as for a failure; only a report tells them apart.
    if done.stdout.startswith("{"):
        return done.stdout, ""
    lines = done.stderr.strip().splitlines() or ["it said nothing"]
    return None, lines[-1][:200]


def _read_report(report: str) -> tuple[list[str], list[str]]:
    """The findings, and the packages that were not checked."""
    findings, unchecked = [], []
    for package in json.loads(report)["dependencies"]:
        if "skip_reason" in package:
            unchecked.append(package["name"])
        for found in package.get("vulns", []):
            mended = ", ".join(found["fix_versions"]) or "no version"
            where = f"{package['name']} {package['version']}"
            findings.append(f"{where}: {found['id']}, mended in {mended}")
    return findings, unchecked


def audit() -> int:
    """Check and print; returns the exit code."""
    wanted = requirements_of_project()
    has_bench = is_installed(wanted[BENCH])
    if not has_bench:
        del wanted[BENCH]
    packages = resolve([text for texts in wanted.values() for text in texts])
    pins = read_pins()
    problems = problems_of(packages, pins)
    versions = {name: found.version for name, found in packages.items() if found.version}
    for name, version in versions.items():
        print(f"{name} {version} ({packages[name].license})")
    if unpinned := sorted(versions.keys() - pins.keys()):
        print(f"\nNot pinned in constraints.txt: {', '.join(unpinned)}")
    findings, why_not = known_vulnerabilities(versions)
    print(f"\n{len(versions)} packages are installed for this project.")
    if not has_bench:
        print("What `make bench` needs is not installed and was not checked.")
    for line in [*problems, *findings]:
        print(f"  {line}")
    if not problems:
        print("They satisfy pyproject.toml and constraints.txt.")
    if why_not is not None:
        print(f"Not all could be checked for known vulnerabilities: {why_not}")
    elif not findings:
        print("No known vulnerabilities.")
    return 1 if problems or findings else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.audit", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {BILL.relative_to(ROOT)}")
    if not parser.parse_args(arguments).write:
        return audit()
    text = bill_as_markdown()
    if "| not installed |" in text:
        print("Not everything is installed: run `make bill`", file=sys.stderr)
        return 1
    BILL.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
