"""`config.json` and `scripts.json`: read, checked, with every path made absolute."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import regress
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic.alias_generators import to_camel

TOKEN_VARIABLE = "SCRIPT_RUNNER_TOKEN"

MAX_PREVIEW_BYTES = 1024 * 1024
"""The largest `previewMaxBytes`: previews are kept in memory and in the history of jobs."""

MAX_TIMEOUT_SECONDS = 365 * 24 * 3600
"""The longest `timeoutSec`; timers of the operating system overflow far beyond it."""

Mode = Literal["sync", "async"]
ModelT = TypeVar("ModelT", bound=BaseModel)


class ConfigError(Exception):
    """A configuration that cannot be used; the message names file, key and what is wanted."""


class ConfigMissing(ConfigError):
    """There is no `config.json`."""


def _from_the_file(path: str, info: ValidationInfo) -> str:
    """Make a path absolute; a relative one is relative to the file that names it."""
    assert info.context is not None
    if "\0" in path:
        raise ValueError("a path must not hold a null byte: remove it")
    folder: Path = info.context["folder"]
    # Not resolved: a path that goes through a link stays one when the link is changed.
    return os.path.normpath(folder / path)


def _names_a_file(path: str) -> str:
    if not Path(path).name:
        raise ValueError(f"it must name a file, {path} does not: change it")
    return path


def _as_browsers_write_it(origin: str) -> str:
    if origin != "null" and not re.fullmatch(r"https?://[^/@?#*\s]+/?", origin, re.IGNORECASE):
        raise ValueError(f"{origin!r} is no origin such as https://tools.example")
    return origin.lower().rstrip("/")


def _without_port(host: str) -> str:
    name = host.lower().strip("[]").rstrip(".")
    if not re.fullmatch(r"[^/@:*\s]+|[0-9a-f:.]+:[0-9a-f:.]*", name):
        raise ValueError(f"{host!r} is no name or address without a port, such as box.example")
    return name


def _valid_pattern(pattern: str) -> str:
    try:
        regress.Regex(pattern)
    except regress.RegressError as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_from_the_file)]
Port = Annotated[int, Field(ge=0, le=65535)]
AtLeastOne = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, validate_default=True
    )


class ServerConfig(_Strict):
    """Where to listen and who may call (`server`)."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """The address to listen on."""
    port: Port = 3000
    """The port to listen on; 0 takes a free one."""
    allowed_hosts: tuple[Annotated[str, AfterValidator(_without_port)], ...] = ()
    """Names, beside those of this machine, that a request may call the runner by (`Host`)."""
    allowed_origins: tuple[Annotated[str, AfterValidator(_as_browsers_write_it)], ...] = ()
    """Origins of web pages that may call, such as `https://tools.example`."""
    allow_unauthenticated: bool = False
    """Listen beyond loopback without a token."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        return is_loopback(self.host)


class RunnerConfig(_Strict):
    """How jobs run and what is kept of them (`runner`)."""

    max_concurrent: AtLeastOne = 1
    """The most jobs that run at once; the others queue."""
    default_mode: Mode = "sync"
    """The mode of a run when neither the request nor the script names one."""
    max_log_bytes_per_stream: AtLeastOne = 1024 * 1024
    """The most bytes kept of one stream of one job; the rest is thrown away."""
    preview_max_bytes: int = Field(default=4096, ge=0, le=MAX_PREVIEW_BYTES)
    """The most bytes of a stream's tail in a job's preview."""
    job_store_file: Annotated[FilePath, AfterValidator(_names_a_file)] = "./jobs.json"
    """Names the history of jobs; the local runner keeps it beside, see `Config.database`."""
    logs_dir: FilePath = "./logs"
    """The folder of the log files."""
    max_jobs: AtLeastOne = 10_000
    """The most jobs in the history; those that ended longest ago go first, with their logs."""
    kill_grace_seconds: float = Field(default=5.0, ge=0, le=3600)
    """From SIGTERM to SIGKILL when a job is cancelled or times out, in seconds."""


class ArgsConfig(_Strict):
    """Which arguments a script takes (`args` of a script)."""

    max_items: int = Field(default=10, ge=0)
    """The most arguments."""
    item_pattern: Annotated[str, Field(min_length=1), AfterValidator(_valid_pattern)] = r"^[\s\S]*$"
    """A regular expression of ECMAScript that each argument must match."""
    item_max_length: int = Field(default=1024, ge=0)
    """The most UTF-16 code units of an argument, as ECMAScript counts."""


class ScriptConfig(_Strict):
    """An allow-listed script (an item of `scripts`)."""

    id: str = Field(min_length=1)
    """The name that requests use."""
    path: FilePath
    """The file to execute."""
    mode: Mode | None = None
    """The mode of a run whose request names none."""
    timeout_sec: int = Field(default=0, ge=0, le=MAX_TIMEOUT_SECONDS)
    """The longest run in seconds; 0 for no limit."""
    args: ArgsConfig = Field(default_factory=ArgsConfig)
    """Which arguments it takes."""

    @property
    def problem(self) -> str | None:
        """Why the file cannot be executed now, or None."""
        try:
            mode = Path(self.path).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return "no such file"
        except OSError as error:
            return f"cannot be looked at: {error.strerror}"
        if not stat.S_ISREG(mode):
            return "no such file"
        return None if os.access(self.path, os.X_OK) else "not executable, run chmod +x on it"


def _unique(scripts: tuple[ScriptConfig, ...]) -> tuple[ScriptConfig, ...]:
    for script_id, count in Counter(script.id for script in scripts).items():
        if count > 1:
            raise ValueError(f"an id may stand once only, {script_id!r} stands {count} times")
    return scripts


Scripts = Annotated[tuple[ScriptConfig, ...], AfterValidator(_unique)]


class ScriptsFile(_Strict):
    """`scripts.json`."""

    scripts: Scripts


class Config(_Strict):
    """`config.json`, with the scripts of its `scriptsFile`."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    # A dict, not an instance: its paths are relative to the file that is being read.
    runner: RunnerConfig = Field(default={})  # type: ignore[assignment]
    scripts_file: FilePath | None = None
    scripts: Scripts = ()

    @property
    def database(self) -> Path:
        """The SQLite file: `jobStoreFile` with the ending `.sqlite3`.

        A `jobs.json` that another script-runner keeps under that name is never touched.
        """
        return Path(self.runner.job_store_file).with_suffix(".sqlite3")


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(path: Path) -> Config:
    """Read and check a configuration.

    Args:
        path: The `config.json`.

    Returns:
        The configuration; its paths are absolute and its `scripts` are filled.

    Raises:
        ConfigMissing: If there is no such file.
        ConfigError: If the scripts file is missing, or either is unreadable, not JSON, or holds
            an unknown key, a value of the wrong type or range, an invalid pattern or an id twice.
    """
    config = _read(path, Config)
    if config.scripts_file is None:
        if not config.scripts:
            raise ConfigError(f"{path}: scripts: name a scriptsFile, or list the scripts here")
        return config
    if config.scripts:
        raise ConfigError(f"{path}: scripts: remove them, scriptsFile names a file of its own")
    scripts = _read(Path(config.scripts_file), ScriptsFile).scripts
    return config.model_copy(update={"scripts": scripts})


def _read(path: Path, model: type[ModelT]) -> ModelT:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        missing = ConfigMissing if model is Config else ConfigError
        raise missing(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}") from error
    try:
        return model.model_validate_json(text, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            wanted = "unknown key, remove it or correct its spelling"
        case "json_invalid":
            wanted = f"not valid JSON: {problem['ctx']['error']}"
        case "missing":
            wanted = "missing, it must be there"
        case "value_error":
            wanted = str(problem["ctx"]["error"])
        case _:
            wanted = problem["msg"][0].lower() + problem["msg"][1:]
    # A key may hold a line feed; the message is one line all the same.
    return f"{json.dumps(key, ensure_ascii=False)[1:-1]}: {wanted}" if key else wanted
