"""What `script_runner` exports: all of it named, sorted and documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil

import pytest

import script_runner

MODULES = [
    module.name
    for module in pkgutil.walk_packages(script_runner.__path__, "script_runner.")
    if not module.name.endswith("__main__")
]
"""All modules of the library."""


def rank(name: str) -> tuple[int, str]:
    """The place of a name: constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_the_exported_names_are_sorted_and_each_is_there_once() -> None:
    assert script_runner.__all__ == sorted(set(script_runner.__all__), key=rank)


def test_there_are_few_enough_names_to_be_learnt_and_no_others() -> None:
    assert len(script_runner.__all__) <= 16
    with pytest.raises(AttributeError, match="has no attribute 'import_nothing'"):
        _ = script_runner.import_nothing


@pytest.mark.parametrize("name", script_runner.__all__)
def test_an_exported_name_is_documented(name: str) -> None:
    value = getattr(script_runner, name)
    if name != "Stream":
        # Its own text, not that of a class it is derived from.
        assert (value.__doc__ or "").strip()
        return
    assert '"""The two streams of a job' in inspect.getsource(script_runner.logs._text)


@pytest.mark.parametrize("module", MODULES)
def test_the_public_names_of_a_module_are_documented(module: str) -> None:
    loaded = importlib.import_module(module)
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


@pytest.mark.parametrize("module", [each for each in MODULES if ".cli" not in each])
def test_the_library_never_prints_and_never_ends_the_process(module: str) -> None:
    source = inspect.getsource(importlib.import_module(module))
    called = {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"print", "exit", "quit", "input"}
    assert "SystemExit" not in source


def test_the_library_knows_no_block_and_blocks_import_only_it() -> None:
    """Only `script_runner.oomol` and the command line may know what is above them."""
    for module in MODULES:
        if ".oomol" in module or ".cli" in module:
            continue
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        imported = {
            node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom | ast.Import)
        }
        above = ("script_runner.oomol", "local_runner", "scripts", "tests", "blocks")
        assert not [name for name in imported if name.startswith(above)], module
