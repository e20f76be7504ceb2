"""What `make package` makes: its files, and that they work where nothing else is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.blocks import BLOCKS, ROOT
from scripts.demo import examples_served
from scripts.package.build import make
from scripts.package.oomol import (
    OWN_FILES,
    SPEC,
    PackagingFailed,
    check_lock,
    write_oomol_package,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAME, VERSION = PROJECT["name"], PROJECT["version"]
MODULES = ("generated_client", "local_runner", "script_runner")
NEEDED_BY_A_BLOCK = {"anyio", "attrs", "certifi", "h11", "httpcore", "httpx", "idna"}
"""attrs, httpx and what httpx needs; also typing_extensions, until Python is new enough."""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command that succeeds; returns what it printed to stdout."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(python: Path, *arguments: str) -> str:
    """Run the pip of this environment for another one."""
    options = ("--disable-pip-version-check", "--no-input", f"--python={python}")
    return run(sys.executable, "-m", "pip", *options, *arguments)


def new_environment(folder: Path, *requirements: str) -> Path:
    """Make a Python environment with nothing but these and what they need; returns its programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    pip(folder / "bin" / "python", "install", "--quiet", constraints, *requirements)
    return folder / "bin"


def files_below(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their path in it; what Python caches does not count."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def modules(*packages: str) -> set[str]:
    """The paths of all files of some Python packages of the project."""
    return {f"{package}/{name}" for package in packages for name in files_below(ROOT / package)}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes."""
    folder = tmp_path_factory.mktemp("package") / "dist"
    run(sys.executable, "-m", "scripts.package", f"--output={folder}")
    return folder


@pytest.fixture(scope="module")
def oomol_package(dist: Path) -> Path:
    """The OOMOL package."""
    return dist / f"{NAME}-{VERSION}"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel."""
    return dist / f"{NAME.replace('-', '_')}-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    """The sdist."""
    return dist / f"{NAME.replace('-', '_')}-{VERSION}.tar.gz"


def test_four_things_are_made(dist: Path, oomol_package: Path, wheel: Path, sdist: Path) -> None:
    assert set(dist.iterdir()) == {dist / "openapi.json", oomol_package, wheel, sdist}


def test_the_same_is_made_again_in_the_place_of_an_older_version(
    dist: Path, tmp_path: Path
) -> None:
    old = tmp_path / "dist" / f"{NAME}-0.0.1" / "tasks" / "gone" / "task.oo.yaml"
    old.parent.mkdir(parents=True)
    old.touch()

    make(ROOT, tmp_path / "dist")

    assert files_below(tmp_path / "dist") == files_below(dist)
    assert list(tmp_path.iterdir()) == [tmp_path / "dist"]


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()

    with pytest.raises(PackagingFailed, match=r"holds thesis\.odt, which was not made here"):
        make(ROOT, tmp_path)

    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.odt"]


@pytest.mark.parametrize("file", ["package.oo.yaml", "package.json"])
def test_a_manifest_with_another_version_is_refused(tmp_path: Path, file: str) -> None:
    for name in ("pyproject.toml", "package.oo.yaml", "package.json"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / file).write_text(json.dumps({"name": NAME, "version": "9.9.9"}), "utf-8")

    with pytest.raises(PackagingFailed) as refusal:
        make(tmp_path, tmp_path / "dist")

    assert str(refusal.value).startswith(f"{file} has the version '9.9.9', pyproject.toml ")
    assert not (tmp_path / "dist").exists()


def test_the_oomol_package_has_what_oomol_needs_and_no_more(oomol_package: Path) -> None:
    packaged = files_below(oomol_package)
    pyproject = packaged.pop("pyproject.toml")
    tasks = {
        f"tasks/{block}/{file}" for block in BLOCKS for file in ("__init__.py", "task.oo.yaml")
    }
    own = {"README.md", "README_zh-CN.md", "poetry.lock"}
    others = {"LICENSE", "icon.png", "oo-locales/en.json", "oo-locales/zh-CN.json"}
    others |= {"package.oo.yaml", "skills/script-runner/SKILL.md"}
    spec = packaged.pop("openapi.json")
    others |= set(run("git", "ls-files", "flows").split())

    assert packaged.keys() == tasks | own | others | modules("generated_client", "script_runner")
    assert spec == (ROOT / SPEC).read_bytes()
    for name, content in packaged.items():
        source = name.replace("tasks/", "blocks/").replace("task.oo.yaml", "block.oo.yaml")
        assert content == ((OWN_FILES if name in own else ROOT) / source).read_bytes(), name
    # No name of a file that is not here, nothing to build, nothing but what a block needs.
    assert tomllib.loads(pyproject.decode()) == {
        "project": {
            key: PROJECT[key] for key in ("name", "version", "requires-python", "dependencies")
        },
        "tool": {"poetry": {"package-mode": False}},
        "build-system": tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"],
    }


def test_a_flow_that_git_does_not_track_is_not_shipped(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", "--shared", str(ROOT), clone)
    draft = clone / "flows" / "draft" / "flow.oo.yaml"
    draft.parent.mkdir()
    draft.write_text("nodes: []\n")

    package = next(path for path in make(clone, tmp_path / "dist") if path.is_dir())

    assert {path.name for path in (package / "flows").iterdir()} == {"deploy-report", "flow-1"}


def test_without_git_nobody_knows_which_flows_are_shipped(tmp_path: Path) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    with pytest.raises(PackagingFailed, match="git does not say which flows it tracks: fatal: "):
        write_oomol_package(tmp_path, pyproject, tmp_path / "package")


def test_a_document_of_the_package_leads_to_nothing_that_is_not_in_it(oomol_package: Path) -> None:
    for document in oomol_package.rglob("*.md"):
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
            assert link.startswith("https://") or (document.parent / link).exists(), document


# -- poetry.lock


def lock() -> dict[str, Any]:
    return tomllib.loads((OWN_FILES / "poetry.lock").read_text("utf-8"))


def test_the_lock_has_only_what_a_block_needs_in_the_versions_that_are_tested() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").replace("_", "-").splitlines()

    locked = {package["name"]: package["version"] for package in lock()["package"]}
    assert locked.keys() - {"typing-extensions"} == NEEDED_BY_A_BLOCK
    assert {f"{name}=={version}" for name, version in locked.items()} <= set(lines)


def test_a_lock_for_other_dependencies_or_of_a_registry_is_refused(oomol_package: Path) -> None:
    pyproject = (oomol_package / "pyproject.toml").read_text("utf-8")
    text = (OWN_FILES / "poetry.lock").read_text("utf-8")
    source = '[package.source]\ntype = "legacy"\nurl = "https://mirror.example/simple"\n\n'

    with pytest.raises(PackagingFailed, match="is for other dependencies: run `poetry lock`"):
        check_lock(text, pyproject.replace("attrs>=23.2", "attrs>=24"))
    with pytest.raises(PackagingFailed, match="names a registry: run `poetry lock`"):
        check_lock(text.replace("[metadata]", f"{source}[metadata]"), pyproject)


@pytest.fixture(scope="module")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as `poetry install --no-root` makes it of the lock, and the executor."""
    folder = tmp_path_factory.mktemp("bootstrapped")
    requirements = folder / "requirements.txt"
    with requirements.open("w") as file:
        for package in lock()["package"]:
            hashes = (f"--hash={one['hash']}" for one in package["files"])
            print(f"{package['name']}=={package['version']}", *hashes, file=file)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "environment")
    python = folder / "environment" / "bin" / "python"
    locked = ("--no-deps", "--require-hashes", f"--requirement={requirements}")
    pip(python, "install", "--quiet", *locked)
    pip(python, "check")
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    pip(python, "install", "--quiet", constraints, "oocana-python-executor")
    return python.with_name("python-executor")


@pytest.mark.parametrize("layout", ["blocks", "tasks"])
def test_flow_1_runs_from_both_layouts_where_only_the_lock_is_installed(
    oomol_package: Path, bootstrapped: Path, tmp_path: Path, layout: str
) -> None:
    package = tmp_path / "package"
    if layout == "tasks":
        shutil.copytree(oomol_package, package)
    else:
        for name in ("blocks", "flows", "generated_client", "script_runner"):
            shutil.copytree(ROOT / name, package / name)

    with examples_served() as url:
        options = (f"--url={url}", "--json", f"--executor={bootstrapped}")
        flow = str(package / "flows" / "flow-1")
        document = json.loads(run(sys.executable, "-m", "scripts.flow.cli", flow, *options))

    nodes = document["nodes"]
    assert {node["state"] for node in nodes.values()} == {"finished"}
    assert {node["block"] for node in nodes.values()} == set(BLOCKS)
    assert nodes["run-script-sync#1"]["outputs"]["stdout"].startswith("Hello, ")


def test_the_wheel_has_the_three_packages_and_nothing_else(wheel: Path) -> None:
    info = f"{NAME.replace('-', '_')}-{VERSION}.dist-info"
    metadata = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert names == modules(*MODULES) | {f"{info}/{name}" for name in metadata}


@pytest.mark.parametrize("package", MODULES)
def test_the_types_of_a_package_are_for_whoever_installs_the_wheel(
    wheel: Path, package: str
) -> None:
    assert zipfile.Path(wheel, f"{package}/py.typed").exists()


def test_the_sdist_has_what_the_wheel_is_built_from_and_nothing_else(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    others = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}

    assert names == modules(*MODULES) | others
    alone = ("--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}")
    pip(Path(sys.executable), "wheel", *alone, str(sdist))
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_wheel_brings_only_what_a_block_needs(wheel: Path, tmp_path: Path) -> None:
    programs = new_environment(tmp_path / "environment", str(wheel))

    listed = json.loads(pip(programs / "python", "list", "--format=json"))
    installed = {entry["name"] for entry in listed} - {"typing_extensions"}
    assert installed == {NAME, *NEEDED_BY_A_BLOCK}
    imports = "import generated_client.api.jobs; from script_runner import *"
    run(programs / "python", "-c", imports, cwd=tmp_path)
    scriptctl = subprocess.run([programs / "scriptctl"], capture_output=True, text=True)
    assert (scriptctl.returncode, "pip install '.[cli]'" in scriptctl.stderr) == (125, True)


def test_the_wheel_with_the_runner_extra_runs_the_local_runner(wheel: Path, tmp_path: Path) -> None:
    programs = new_environment(tmp_path / "environment", f"{wheel}[runner]")

    assert "start" in run(programs / "local-runner", "--help", cwd=tmp_path)
    version = run(programs / "local-runner", "--version", cwd=tmp_path)
    assert version == f"local-runner, version {VERSION}\n"
    imports = (
        f"import {', '.join(MODULES)}, local_runner.http.server; print(script_runner.__file__); "
        "from local_runner.http.openapi import document; assert document('http://localhost')"
    )
    imported = run(programs / "python", "-c", imports, cwd=tmp_path)
    assert imported.startswith(f"{tmp_path / 'environment'}/")
