"""`config.json` and `scripts.json`: what they may hold, with every path made absolute."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    model_validator,
)

from local_runner import names
from local_runner.config_file import ConfigError, ConfigMissing, read
from local_runner.config_values import (
    NUMBER_OR_EMPTY,
    AtLeastOne,
    BrokerUrl,
    Count,
    FilePath,
    Host,
    Label,
    Launcher,
    NamedFile,
    Origin,
    Pattern,
    RequiredPath,
    Strict,
    Text,
    VariableName,
    VariableValue,
    absent,
    number,
)

__all__ = ["Config", "ConfigError", "ConfigMissing", "RunnerConfig", "ScriptConfig", "load"]

TOKEN_VARIABLE = "SCRIPT_RUNNER_TOKEN"

MAX_PREVIEW_BYTES = 1024 * 1024
"""The largest `previewMaxBytes`: previews are kept in memory and in the history of jobs."""

MAX_TIMEOUT_SECONDS = 365 * 24 * 3600
"""The longest `timeoutSec`; timers of the operating system overflow far beyond it."""

REPLICATED_LEASE_SECONDS = 15
"""The shortest lease if several brokers must agree, in seconds."""

LOG_LIMITS = ("maxLogBytesPerStream", "stdoutMaxBytes", "stderrMaxBytes")
"""The limit of a log, and what other script-runners called it before."""

Mode = Literal["sync", "async"]


class ServerConfig(Strict):
    """Where to listen and who may call (`server`)."""

    host: Text = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535), *NUMBER_OR_EMPTY] = 3000
    """The port to listen on; 0 takes a free one."""
    allowed_hosts: Annotated[tuple[Host, ...], Field(strict=False)] = ()
    """Names, beside those of this machine, that a request may call the runner by (`Host`)."""
    allowed_origins: Annotated[tuple[Origin, ...], Field(strict=False)] = ()
    """Origins of web pages that may call, such as `https://tools.example`."""
    allow_unauthenticated: bool = False
    """Listen beyond loopback without a token."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        return names.is_loopback(self.host)


class RunnerConfig(Strict):
    """How jobs run and what is kept of them (`runner`)."""

    max_concurrent: AtLeastOne = 1
    """The most jobs that run at once; the others queue."""
    default_mode: Annotated[Mode, BeforeValidator(absent(""))] = "sync"
    """The mode of a run when neither the request nor the script names one."""
    max_log_bytes_per_stream: AtLeastOne = 1024 * 1024
    """The most bytes kept of one stream of one job; the rest is thrown away."""
    preview_max_bytes: Annotated[int, Field(ge=0, le=MAX_PREVIEW_BYTES), *NUMBER_OR_EMPTY] = 4096
    """The most bytes of a stream's tail in a job's preview."""
    job_store_file: NamedFile = "./jobs.json"
    """Names the history of jobs; the local runner keeps it beside, see `Config.database`."""
    logs_dir: FilePath = "./logs"
    """The folder of the log files."""
    max_jobs: Annotated[int, Field(ge=1), *NUMBER_OR_EMPTY] = 10_000
    """The most jobs in the history; those that ended longest ago go first, with their logs."""
    kill_grace_seconds: Annotated[float, Field(ge=0, le=3600), BeforeValidator(number)] = 5.0
    """From SIGTERM to SIGKILL when a job is cancelled or times out, in seconds."""

    @model_validator(mode="before")
    @classmethod
    def _take_older_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        # As the reference server: the first that says anything.
        limit = next(filter(None, map(values.get, LOG_LIMITS)), None)
        kept = {name: value for name, value in values.items() if name not in LOG_LIMITS}
        return {**kept, LOG_LIMITS[0]: limit}


class ArgsConfig(Strict):
    """Which arguments a script takes (`args` of a script)."""

    max_items: Count = 10
    """The most arguments."""
    item_pattern: Pattern = r"^[\s\S]*$"
    """A regular expression of ECMAScript that each argument must match."""
    item_max_length: Count = 1024
    """The most UTF-16 code units of an argument, as ECMAScript counts."""


class ScriptConfig(Strict):
    """An allow-listed script (an item of `scripts`)."""

    id: str = Field(min_length=1)
    """The name that requests use."""
    path: RequiredPath
    """The file to execute."""
    mode: Annotated[Mode | None, BeforeValidator(absent(""))] = None
    """The mode of a run whose request names none."""
    timeout_sec: Annotated[int, Field(ge=0, le=MAX_TIMEOUT_SECONDS), *NUMBER_OR_EMPTY] = 0
    """The longest run in seconds; 0 for no limit."""
    description: Annotated[str | None, BeforeValidator(absent(""))] = None
    """What it does, for people."""
    working_dir: FilePath | None = None
    """The folder that it runs in; None for that of the runner."""
    env: dict[VariableName, VariableValue] = Field(default={})
    """Variables of its environment, beside those of the runner."""
    max_concurrent: Annotated[
        int | None, Field(ge=1), BeforeValidator(number), BeforeValidator(absent("", 0))
    ] = None
    """The most jobs of it that run at once; None for no limit but that of the runner."""
    launcher: Launcher = ()
    """Words put before the file, such as `nice -n 10`: a program and its arguments."""
    args: ArgsConfig = Field(default_factory=ArgsConfig)
    """Which arguments it takes."""
    labels: Annotated[tuple[Label, ...], Field(strict=False)] = ()
    """With a cluster: it runs only on agents that have all of these."""


Scripts = Annotated[tuple[ScriptConfig, ...], Field(strict=False)]


class ScriptsFile(Strict):
    """`scripts.json`."""

    scripts: Scripts


class BrokerConfig(Strict):
    """How to reach the broker of a cluster."""

    nats: Annotated[tuple[BrokerUrl, ...], Field(strict=False, min_length=1)]
    """URLs of the brokers, `tls://host:port` or, on this machine, `nats://127.0.0.1:port`."""
    credentials: FilePath | None = None
    """A PEM file with a private key, its certificate and that of who signed the broker's; or a
    credentials file of NATS."""
    allow_plaintext: bool = False
    """Speak to a broker on another machine without TLS."""

    @model_validator(mode="after")
    def _may_be_spoken_to(self) -> Self:
        urls = [urllib.parse.urlsplit(url) for url in self.nats]
        if len({url.scheme for url in urls}) > 1:
            raise ValueError("nats: either all URLs are tls:// or none: change them")
        for url in urls:
            beyond = url.scheme == "nats" and not names.is_loopback(url.hostname or "")
            if beyond and not self.allow_plaintext:
                raise ValueError(
                    f"nats: whoever is between here and {url.hostname} could read and run: use "
                    'tls://, or write "allowPlaintext": true if you mean it'
                )
        return self


class ClusterConfig(BrokerConfig):
    """The machines that run the scripts (`cluster`)."""

    replicas: Literal[1, 3, 5] = 1
    """How many brokers must agree on who is alive by their majority."""
    lease_seconds: Annotated[float, Field(ge=5, le=86_400), BeforeValidator(number)] = 10.0
    """After so many seconds without the broker an agent ends its scripts."""

    @model_validator(mode="after")
    def _outlives_an_election(self) -> Self:
        if self.replicas > 1 and self.lease_seconds < REPLICATED_LEASE_SECONDS:
            raise ValueError(
                f"leaseSeconds must be {REPLICATED_LEASE_SECONDS} or more with replicas: brokers "
                "take up to 9 s to elect a leader, and agents would end their scripts meanwhile"
            )
        return self


class Config(Strict):
    """`config.json`, with the scripts of its `scriptsFile`."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    # A dict, not an instance: its paths are relative to the file that is being read.
    runner: RunnerConfig = Field(default={})  # type: ignore[assignment]
    cluster: ClusterConfig | None = None
    scripts_file: FilePath | None = None
    scripts: Scripts = ()
    _warnings: list[str] = PrivateAttr(default_factory=list)
    _path: Path = PrivateAttr(default=Path("config.json"))

    @property
    def warnings(self) -> list[str]:
        """What may be a mistake of the files, though they can be used."""
        return list(self._warnings)

    @property
    def scripts_path(self) -> Path:
        """The file that lists the scripts: `scriptsFile`, or `config.json` itself."""
        return self._path if self.scripts_file is None else Path(self.scripts_file)

    def read_scripts(self) -> tuple[ScriptConfig, ...]:
        """Read the scripts again, as they are on the disk now.

        Raises:
            ConfigError: If that cannot be done, see `load`.
        """
        if self.scripts_file is not None:
            return read(self.scripts_path, ScriptsFile, []).scripts
        scripts = read(self.scripts_path, Config, []).scripts
        if not scripts:
            raise ConfigError(f"{self.scripts_path}: scripts: there are none any more")
        return scripts

    @property
    def database(self) -> Path:
        """The SQLite file: `jobStoreFile` with the ending `.sqlite3`.

        A `jobs.json` that another script-runner keeps under that name is never touched.
        """
        return Path(self.runner.job_store_file).with_suffix(".sqlite3")


def load(path: Path) -> Config:
    """Read and check a configuration.

    Args:
        path: The `config.json`.

    Returns:
        The configuration; its paths are absolute and its `scripts` are filled.

    Raises:
        ConfigMissing: If there is no such file.
        ConfigError: If the scripts file is missing, or either is unreadable, not JSON, or holds
            an unknown key, a key or an id twice, a value of the wrong type or range, or an invalid
            pattern. It tells all that is wrong with the first file that is.
    """
    warnings: list[str] = []
    config = read(path, Config, warnings)
    scripts = config.scripts
    if config.scripts_file is not None:
        if scripts:
            warnings.append(
                f"{path}: scripts: not used, as scriptsFile names {config.scripts_file}"
            )
        try:
            scripts = read(Path(config.scripts_file), ScriptsFile, warnings).scripts
        except ConfigMissing as error:
            raise ConfigError(f"{error}, but scriptsFile of {path} names it") from error
    elif not scripts:
        raise ConfigError(f"{path}: scripts: name a scriptsFile, or list the scripts here")
    loaded = config.model_copy(update={"scripts": scripts})
    loaded._warnings = warnings
    loaded._path = path.absolute()
    return loaded
