"""The folder that OOMOL takes as a package.

It has the newer layout, `tasks/NAME/task.oo.yaml` for `blocks/NAME/block.oo.yaml`: the engine
(oomol/oocana-rust, `manifest_reader/src/path_finder/block.rs`) takes both, but oomol-lab/oopm,
which publishes packages, knows only `tasks/`. What a manifest says is the same in both, and
`package.oo.yaml` lists the tasks under `ui.blocks` all the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PACKAGED = (
    "LICENSE",
    "blocks/*/*.py",
    "blocks/*/block.oo.yaml",
    "generated_client/**/*.py",
    "generated_client/py.typed",
    "icon.png",
    "oo-locales/*.json",
    "package.oo.yaml",
    "script_runner/**/*.py",
    "script_runner/py.typed",
    "skills/*/SKILL.md",
)
"""What the package takes from the project, beside the flows that git tracks."""
SPEC = "local_runner/http/openapi.json"
"""The spec of the API as one JSON document, which the package and `dist/` have as well."""
OWN_FILES = Path(__file__).parent
"""The README of the package, in both languages, and its lock."""
NEEDED_AT_BOOTSTRAP = ("name", "version", "requires-python", "dependencies")
"""What of `[project]` the package keeps: `poetry install --no-root` needs no more."""
_HASHED_BY_POETRY = ("requires-python", "dependencies")


class PackagingFailed(Exception):
    """Nothing was made, and what was there is untouched; the message says what to mend."""


def write_oomol_package(root: Path, pyproject: Mapping[str, Any], folder: Path) -> None:
    """Write the folder that OOMOL takes as a package.

    Args:
        root: The project folder.
        pyproject: Its `pyproject.toml`, parsed.
        folder: The folder to make.

    Raises:
        PackagingFailed: If `poetry.lock` does not fit, or git cannot say which flows it tracks.
    """
    for source in _packaged_files(root):
        name = source.relative_to(root).as_posix()
        if name.startswith("blocks/"):
            name = name.replace("blocks/", "tasks/", 1).replace("/block.oo.yaml", "/task.oo.yaml")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for source in (*OWN_FILES.glob("README*.md"), OWN_FILES / "poetry.lock", root / SPEC):
        shutil.copyfile(source, folder / source.name)
    written = _bootstrap_pyproject(pyproject)
    (folder / "pyproject.toml").write_text(written, "utf-8")
    check_lock((folder / "poetry.lock").read_text("utf-8"), written)


def check_lock(lock: str, pyproject: str) -> None:
    """Refuse a `poetry.lock` that Poetry would refuse, or that names a registry.

    Args:
        lock: Its text.
        pyproject: The text of the package's `pyproject.toml`.

    Raises:
        PackagingFailed: If it does not fit; the message says how to make it anew.
    """
    parsed = tomllib.loads(lock)
    # What Poetry's own `Locker` hashes, of a package without groups and sources.
    project = tomllib.loads(pyproject)["project"]
    relevant = {key: project[key] for key in _HASHED_BY_POETRY}
    hashed = json.dumps({"project": relevant, "tool": {"poetry": {}}}, sort_keys=True)
    wanted = hashlib.sha256(hashed.encode()).hexdigest()
    faults = {
        "is for other dependencies": parsed["metadata"]["content-hash"] != wanted,
        "names a registry": any("source" in package for package in parsed["package"]),
    }
    for fault, is_there in faults.items():
        if is_there:
            raise PackagingFailed(
                f"{OWN_FILES / 'poetry.lock'} {fault}: run `poetry lock`, without any source, in "
                f"a folder with this pyproject.toml, and copy what it makes:\n{pyproject}"
            )


def _packaged_files(root: Path) -> Iterator[Path]:
    for pattern in PACKAGED:
        yield from root.glob(pattern)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "flows"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        raise PackagingFailed(f"git does not say which flows it tracks: {listed.stderr.strip()}")
    yield from (root / name for name in listed.stdout.split("\0") if name)


def _bootstrap_pyproject(pyproject: Mapping[str, Any]) -> str:
    """A `pyproject.toml` that installs what a block needs and builds nothing."""
    tables = {
        "project": {key: pyproject["project"][key] for key in NEEDED_AT_BOOTSTRAP},
        "tool.poetry": {"package-mode": False},
        "build-system": pyproject["build-system"],
    }
    lines: list[str] = []
    for name, table in tables.items():
        # A text, a boolean and a list of texts are written in TOML as in JSON.
        values = (f"{key} = {json.dumps(table[key], ensure_ascii=False)}" for key in table)
        lines += [f"[{name}]", *values, ""]
    return "\n".join(lines)
