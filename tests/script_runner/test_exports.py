"""What `script_runner` exports: all of it named, sorted and documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
import types
from pathlib import Path

import pytest

import script_runner

MODULES = [module.name for module in pkgutil.iter_modules(script_runner.__path__)]


def documented_constants() -> set[str]:
    """The constants of the package that have a text below them."""
    found = set()
    for module in MODULES:
        path = Path(script_runner.__path__[0]) / f"{module}.py"
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for statement, following in itertools.pairwise(body):
            match statement, following:
                case ast.Assign(targets=[ast.Name(name)]), ast.Expr(ast.Constant(str())):
                    found.add(name)
    return found


def rank(name: str) -> tuple[int, str]:
    """The place of a name: constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_the_exported_names_are_sorted_and_each_is_there_once() -> None:
    assert script_runner.__all__ == sorted(set(script_runner.__all__), key=rank)


def test_what_the_package_imports_for_others_is_exported() -> None:
    # A module is an attribute of its package because it was imported somewhere.
    own = {
        name
        for name, value in vars(script_runner).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert own | {"inputs", "oomol"} == set(script_runner.__all__)


@pytest.mark.parametrize("name", script_runner.__all__)
def test_an_exported_name_is_documented(name: str) -> None:
    value = getattr(script_runner, name)
    if isinstance(value, type | types.FunctionType | types.ModuleType):
        # Its own text, not that of a class it is derived from.
        assert (value.__doc__ or "").strip()
    else:
        assert name in documented_constants()


@pytest.mark.parametrize("module", MODULES)
def test_the_public_names_of_a_module_are_documented(module: str) -> None:
    loaded = importlib.import_module(f"script_runner.{module}")
    assert loaded.__doc__
    own = {
        name: value
        for name, value in vars(loaded).items()
        if inspect.isclass(value) or inspect.isfunction(value)
        if value.__module__ == loaded.__name__ and not name.startswith("_")
    }
    for name, value in own.items():
        assert value.__doc__, f"{module}.{name}"
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(function) and not method.startswith("_"):
                assert inspect.getdoc(getattr(value, method)), f"{module}.{name}.{method}"


def test_the_package_never_prints() -> None:
    for module in MODULES:
        source = (Path(script_runner.__path__[0]) / f"{module}.py").read_text(encoding="utf-8")
        called = {
            node.func.id
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "exit", "quit", "input"}, module
