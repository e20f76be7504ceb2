"""Which scripts may run, with which arguments; read again when their file has changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import regress

from local_runner import log
from local_runner.config import ConfigError, ScriptConfig
from local_runner.config_file import Context
from local_runner.storage.disk import Disk

SETTLED_NS = 100_000_000
"""Longer than the clock of a file system takes from one tick to the next."""


class Refused(Exception):
    """A run that is not accepted.

    Attributes:
        code: The error code of the wire.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(message)
        self.code = code


class Source(Protocol):
    """A configuration with scripts: that of a runner, or of an agent."""

    @property
    def scripts(self) -> tuple[ScriptConfig, ...]:
        """The scripts as they were read at first."""

    @property
    def scripts_path(self) -> Path:
        """The file that lists them."""

    def read_scripts(self) -> tuple[ScriptConfig, ...]:
        """Read them again.

        Raises:
            ConfigError: If that cannot be done.
        """


class Allowlist:
    """The scripts that may run, as their file has them now; it belongs to one event loop."""

    def __init__(self, config: Source) -> None:
        """Begin with the scripts of a configuration that was just read."""
        self._config = config
        self._path = config.scripts_path
        # Its own: a log that cannot be written now must not keep others from a run.
        self._thread = Disk(threads=1)
        self._rules = Rules(config.scripts)
        self._seen: _Look | None = None
        """How the file looked when it was last read, None if it may have changed since."""
        self._fault: str | None = None
        self._reading = asyncio.Lock()
        self._kept: dict[int, tuple[ScriptConfig, str]] = {}
        self._accepted: dict[tuple[str, str], ScriptConfig] = {}

    @property
    def scripts(self) -> tuple[ScriptConfig, ...]:
        """The scripts that may run."""
        return self._rules.scripts

    def script(self, script_id: str) -> ScriptConfig | None:
        """A script that may run, or None."""
        return self._rules.script(script_id)

    async def refresh(self) -> None:
        """Read the scripts again if their file has changed, in place or by another in its place.

        A file that is invalid changes nothing; that is logged once.
        """
        # From the event loop: the start of a script looks for its file there as well.
        if self._seen is not None and _look_of(self._path) == self._seen:
            return
        async with self._reading:
            look = _look_of(self._path)
            if look is not None and look == self._seen:
                return
            fault: str | None = None
            try:
                scripts = await self._thread.run(self._config.read_scripts)
            except ConfigError as error:
                fault = str(error)
            else:
                if scripts != self.scripts:
                    self._rules = Rules(scripts)
                    self._kept.clear()
                    log.event("scripts_read", scripts=len(scripts))
            if fault is not None and fault != self._fault:
                message = f"the scripts stay as they were, their file is invalid: {fault}"
                log.event("error", message=message)
            self._fault = fault
            # A file may change again within the same tick of its clock.
            self._seen = look if look is not None and look.is_settled else None

    def kept(self, script: ScriptConfig) -> str:
        """The configuration of a script as a history keeps it for a job that waits.

        Without its variables, which may be secret.
        """
        found = self._kept.get(id(script))
        if found is None or found[0] is not script:
            text = script.model_dump_json(by_alias=True, exclude={"env"})
            found = self._kept[id(script)] = script, text
        return found[1]

    def as_accepted(self, script: ScriptConfig, kept: str | None) -> ScriptConfig:
        """A script as it was when a job was accepted that has waited across a restart.

        Args:
            script: The script as it is now; its variables are taken.
            kept: What the history has of it; None if that is nothing.
        """
        if kept is None or kept == self.kept(script):
            return script
        known = self._accepted.get((script.id, kept))
        if known is None:
            try:
                then = ScriptConfig.model_validate_json(kept, context=Context(Path("/"), []))
            except ValueError:
                return script  # of a version that had other keys
            known = then.model_copy(update={"env": script.env})
            self._accepted[script.id, kept] = known
        return known

    def check(self, script_id: object, args: object) -> tuple[ScriptConfig, list[str]]:
        """Find the script of a request and check its arguments; see `Rules.check`."""
        try:
            return self._rules.check(script_id, args)
        except Refused as refusal:
            if refusal.code != "SCRIPT_NOT_FOUND" or self._fault is None:
                raise
            fault = self._fault.replace("\n", "")
            raise Refused(
                refusal.code,
                f"{refusal}; the scripts are those of before, their file is invalid now: {fault}",
            ) from refusal


class _Look(NamedTuple):
    """What tells that a file has changed."""

    device: int
    inode: int
    size: int
    written_ns: int
    changed_ns: int

    @property
    def is_settled(self) -> bool:
        """Whether its last change is so long ago that another would have another time."""
        return time.time_ns() - max(self.written_ns, self.changed_ns) > SETTLED_NS


def _look_of(path: Path) -> _Look | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Look(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Rules:
    """The allow-listed scripts and what they take.

    Attributes:
        scripts: The scripts, in the order of the configuration.
    """

    def __init__(self, scripts: Iterable[ScriptConfig]) -> None:
        """Compile the patterns."""
        self.scripts = tuple(scripts)
        self._scripts = {script.id: script for script in self.scripts}
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
