"""Make all that is published, and put it in the place of what an earlier run made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.package.oomol import SPEC, PackagingFailed, write_oomol_package

ROOT = Path(__file__).resolve().parents[2]


def make(root: Path, output: Path) -> list[Path]:
    """Make everything.

    Args:
        root: The project folder.
        output: The folder to make; one that is there is replaced as a whole.

    Returns:
        What was made: the spec as `openapi.json`, the folder of the OOMOL package, the
        sdist and the wheel.

    Raises:
        PackagingFailed: If the manifests do not agree, the lock does not fit, `output` holds what
            is not ours, or the build backend fails. Then nothing was made, and what was there is
            untouched.
    """
    pyproject = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project = pyproject["project"]
    _check_agreement(root, project)
    _check_replaceable(output, project["name"])
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".package-") as aside:
        made = Path(aside, "made")
        write_oomol_package(root, pyproject, made / f"{project['name']}-{project['version']}")
        shutil.copy(root / SPEC, made)
        _build_distributions(root, made)
        shutil.rmtree(output, ignore_errors=True)
        made.rename(output)
    return sorted(output.iterdir())


def _check_agreement(root: Path, project: Mapping[str, Any]) -> None:
    """Refuse another name or version than that of `pyproject.toml`."""
    manifests = {
        "package.oo.yaml": yaml.safe_load((root / "package.oo.yaml").read_text("utf-8")),
        "package.json": json.loads((root / "package.json").read_text("utf-8")),
    }
    for file, manifest in manifests.items():
        for key in ("name", "version"):
            if (found := manifest.get(key, project[key])) != project[key]:
                raise PackagingFailed(
                    f"{file} has the {key} {found!r}, pyproject.toml {project[key]!r}: "
                    "what counts is pyproject.toml, write the same in both"
                )


def _check_replaceable(output: Path, name: str) -> None:
    """Refuse to delete a folder that holds something this command did not make."""
    ours = (f"{name}-", f"{name.replace('-', '_')}-", Path(SPEC).name)
    for path in sorted(output.iterdir()) if output.exists() else ():
        if not path.name.startswith(ours):
            raise PackagingFailed(
                f"{output} would be replaced, but holds {path.name}, which was not made here: "
                "move it away, or choose another folder with --output"
            )


def _build_distributions(root: Path, folder: Path) -> None:
    """Build the sdist, and from the sdist the wheel."""
    build = subprocess.run(
        # The backend is the one of this environment, whose version is known.
        [sys.executable, "-m", "build", "--no-isolation", f"--outdir={folder}", root],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if build.returncode != 0:
        raise PackagingFailed(f"{build.stdout.strip()}\nThe wheel and the sdist cannot be built.")
