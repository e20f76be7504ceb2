"""Which scripts may run, with which arguments."""

from __future__ import annotations

from collections.abc import Iterable

import regress

from local_runner.config import ScriptConfig


class Refused(Exception):
    """A run that is not accepted.

    Attributes:
        code: The error code of the wire.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(message)
        self.code = code


class Rules:
    """The allow-listed scripts and what they take."""

    def __init__(self, scripts: Iterable[ScriptConfig]) -> None:
        """Compile the patterns."""
        self._scripts = {script.id: script for script in scripts}
        self._patterns = {
            script.id: regress.Regex(script.args.item_pattern) for script in self._scripts.values()
        }

    def script(self, script_id: str) -> ScriptConfig | None:
        """A script that may be run, or None."""
        return self._scripts.get(script_id)

    def check(self, script_id: object, args: object) -> tuple[ScriptConfig, list[str]]:
        """Find the script of a request and check its arguments.

        Args:
            script_id: The `scriptId` of the request, whatever it is.
            args: Its `args`, `[]` when it had none.

        Raises:
            Refused: If the script is not allow-listed, or does not take these arguments.
        """
        script = self._scripts.get(script_id) if isinstance(script_id, str) else None
        if script is None:
            raise Refused("SCRIPT_NOT_FOUND", f"script not found: {_shown(script_id)}")
        if not isinstance(args, list):
            raise Refused("INVALID_ARGS", "args must be an array of strings")
        if len(args) > script.args.max_items:
            raise Refused("INVALID_ARGS", f"too many args: max {script.args.max_items}")
        return script, [self._check_arg(script, index, arg) for index, arg in enumerate(args)]

    def _check_arg(self, script: ScriptConfig, index: int, arg: object) -> str:
        if not isinstance(arg, str):
            raise Refused("INVALID_ARGS", f"arg[{index}] must be string")
        if not _is_passable(arg):
            raise Refused("INVALID_ARGS", f"arg[{index}] has a null byte or half a surrogate pair")
        if len(arg.encode("utf-16-le")) // 2 > script.args.item_max_length:
            raise Refused(
                "INVALID_ARGS", f"arg[{index}] too long: max {script.args.item_max_length}"
            )
        if self._patterns[script.id].find(arg) is None:
            raise Refused("INVALID_ARGS", f"arg[{index}] does not match pattern")
        return arg


def _shown(value: object) -> str:
    """A value of a request as a message may quote it."""
    text = value if isinstance(value, str) else "the request has no scriptId that is a string"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _is_passable(arg: str) -> bool:
    """Whether a program can get this as an argument."""
    try:
        return b"\0" not in arg.encode()
    except UnicodeEncodeError:
        return False
