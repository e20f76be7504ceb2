"""Where packages make messages for people, and which of these places have been run."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import pkgutil
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from tests.docs.markdown import ROOT

MESSAGE_CALLS = {"error_answer", "failure", "send_warning"}
"""Functions whose argument somebody reads."""

MESSAGE_ATTRIBUTES = {"failure", "stderr_preview"}
"""Attributes that a message is written to: why a job failed, as its stderr shows it."""

LOGGED_MESSAGES = {"error", "warning"}
"""Events of the log that are sentences; the others are fields."""

Line = tuple[str, int]


@dataclass(frozen=True)
class Site:
    """A statement that makes a message.

    Attributes:
        file: The source file.
        first: Its first line.
        last: Its last line.
        function: The function or method it stands in.
        source: The statement, on one line.
    """

    file: str
    first: int
    last: int
    function: str
    source: str

    def __str__(self) -> str:
        where = Path(self.file).relative_to(ROOT).as_posix()
        return f"{where}:{self.first} in {self.function}: {self.source}"

    def was_run(self, lines: set[Line]) -> bool:
        """Whether any of its lines is among those that were run."""
        return any((self.file, number) in lines for number in range(self.first, self.last + 1))


def modules_of(*names: str) -> list[ModuleType]:
    """The modules of packages, but for those that start a program when they are imported."""
    packages = [importlib.import_module(name) for name in names]
    return packages + [
        importlib.import_module(module.name)
        for package in packages
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ]


def sites_of(modules: Sequence[ModuleType]) -> list[Site]:
    """Every statement of some modules that makes a message."""
    exceptions = {
        name
        for module in [*modules, builtins]
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    found = []
    for module in modules:
        finder = _Finder(str(module.__file__), exceptions)
        finder.visit(ast.parse(Path(finder.file).read_text("utf-8")))
        found += finder.sites
    return found


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, exceptions: set[str]) -> None:
        self.file = file
        self.sites: list[Site] = []
        self._exceptions = exceptions
        self._functions: list[str] = []

    def visit(self, node: ast.AST) -> None:
        """Note a statement that has no others in it; look into all that have."""
        inside = self._functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._functions = [*inside, node.name]
        if isinstance(node, ast.stmt) and not hasattr(node, "body") and not hasattr(node, "cases"):
            if any(self._makes_a_message(part) for part in ast.walk(node)):
                self._note(node)
        else:
            self.generic_visit(node)
        self._functions = inside

    def _note(self, node: ast.stmt) -> None:
        source = " ".join(ast.unparse(node).split())
        function = ".".join(self._functions) or "the module"
        last = node.end_lineno or node.lineno
        self.sites.append(Site(self.file, node.lineno, last, function, source))

    def _makes_a_message(self, node: ast.AST) -> bool:
        match node:
            case ast.Raise(exc=ast.Call(args=[_, *_])):
                return True
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[_, *_]):
                if name == "event":
                    first = node.args[0]
                    return isinstance(first, ast.Constant) and first.value in LOGGED_MESSAGES
                return name in MESSAGE_CALLS or name in self._exceptions
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.JoinedStr()):
                return name in MESSAGE_ATTRIBUTES
        return False


@contextlib.contextmanager
def lines_run(modules: Sequence[ModuleType]) -> Iterator[set[Line]]:
    """Collect the lines of some modules that are run meanwhile, in threads that start too."""
    files = {str(module.__file__) for module in modules}
    lines: set[Line] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before, before_in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(trace)
    threading.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)
        threading.settrace(before_in_threads)
