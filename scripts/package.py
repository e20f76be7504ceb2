"""Make what is published, in `dist/`: the OOMOL package, the wheel and the sdist.

The OOMOL package has the newer layout, `tasks/NAME/task.oo.yaml` for `blocks/NAME/block.oo.yaml`:
the engine (oomol/oocana-rust, `manifest_reader/src/path_finder/block.rs`) takes both, but
oomol-lab/oopm, which publishes packages, knows only `tasks/`. What a manifest says is the same in
both, and `package.oo.yaml` lists the tasks under `ui.blocks` all the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = (
    "LICENSE",
    "README*.md",
    "blocks/*/*.py",
    "blocks/*/block.oo.yaml",
    "flows/*/flow.oo.yaml",
    "generated_client/**/*.py",
    "generated_client/py.typed",
    "icon.png",
    "oo-locales/*.json",
    "package.oo.yaml",
    "script_runner/**/*.py",
    "script_runner/py.typed",
)
"""All that the OOMOL package takes from the project."""
NEEDED_AT_BOOTSTRAP = ("name", "version", "requires-python", "dependencies")
"""What of `[project]` the OOMOL package keeps: `poetry install --no-root` needs no more."""


class PackagingFailed(Exception):
    """Nothing was made, and what was there is untouched; the message says what to mend."""


def make(root: Path, output: Path) -> list[Path]:
    """Make everything, and put it in the place of what an earlier run made.

    Args:
        root: The project folder.
        output: The folder to make; one that is there is replaced as a whole.

    Returns:
        What was made: the folder of the OOMOL package, the sdist and the wheel.

    Raises:
        PackagingFailed: If the manifests do not agree, if `output` holds what is not ours, or if
            the build backend fails.
    """
    pyproject = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project = pyproject["project"]
    _check_agreement(root, project)
    _check_replaceable(output, project["name"])
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".package-") as aside:
        made = Path(aside, "made")
        write_oomol_package(root, pyproject, made / f"{project['name']}-{project['version']}")
        _build_distributions(root, made)
        shutil.rmtree(output, ignore_errors=True)
        made.rename(output)
    return sorted(output.iterdir())


def write_oomol_package(root: Path, pyproject: Mapping[str, Any], folder: Path) -> None:
    """Write the folder that OOMOL takes as a package.

    Args:
        root: The project folder.
        pyproject: Its `pyproject.toml`, parsed.
        folder: The folder to make.
    """
    for source in (path for pattern in PACKAGED for path in root.glob(pattern)):
        name = source.relative_to(root).as_posix()
        if name.startswith("blocks/"):
            name = name.replace("blocks/", "tasks/", 1).replace("/block.oo.yaml", "/task.oo.yaml")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    (folder / "pyproject.toml").write_text(_bootstrap_pyproject(pyproject), "utf-8")


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
    ours = (f"{name}-", f"{name.replace('-', '_')}-")
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.package", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("dist"),
        metavar="DIR",
        help="the folder to make, by default dist",
    )
    options = parser.parse_args(arguments)
    try:
        made = make(ROOT, options.output)
    except PackagingFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    for path in made:
        files = sum(file.is_file() for file in path.rglob("*"))
        print(f"{path}/ (the OOMOL package, {files} files)" if path.is_dir() else path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
