"""What only blocks need: their inputs, the node they show themselves on, the product's words."""

from __future__ import annotations

from script_runner._base import DEFAULTS
from script_runner._client import ScriptRunner
from script_runner._connect import connect as _connect
from script_runner._settings import Settings
from script_runner.oomol import inputs, node, words
from script_runner.oomol._stopping import WATCH

__all__ = ["connect", "inputs", "node", "words"]


def connect(params: inputs.Params, *, settings: Settings = DEFAULTS) -> ScriptRunner:
    """The script-runner that a block is to use, warm; its errors speak of blocks.

    When the executor is told to stop, what it waits for ends with a `RunnerUnreachable`.

    Args:
        params: The inputs of the block, `script_runner_url` among them.
        settings: See `script_runner.connect`.

    Raises:
        InvalidInput: If `script_runner_url` is not a URL that can be used.
    """
    runner = _connect(inputs.url(params), hints=words.BLOCK_HINTS, settings=settings)
    WATCH.add(runner)
    return runner
