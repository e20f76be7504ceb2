"""The blocks, loaded by their path as the OOMOL executor loads them."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = sorted(path.parent.name for path in ROOT.glob("blocks/*/block.oo.yaml"))


def block_path(name: str) -> Path:
    """The module of a block."""
    return ROOT / "blocks" / name / "__init__.py"


@functools.cache
def load_block(name: str) -> ModuleType:
    """Load the module of a block, once."""
    path = block_path(name)
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
