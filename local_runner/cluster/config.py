"""`agent.json`: what an agent needs to know."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field, PrivateAttr

from local_runner.config import BrokerConfig, ScriptConfig, ScriptsFile
from local_runner.config_file import ConfigError, ConfigMissing, read
from local_runner.config_values import FilePath, Label
from local_runner.processes.start_faults import script_fault


class AgentConfig(BrokerConfig):
    """`agent.json`."""

    name: Label | None = None
    """What the agent is called; by default the host name up to its first dot."""
    slots: Annotated[int, Field(ge=1, le=10_000)] = 1
    """The most scripts that run at once."""
    labels: Annotated[tuple[Label, ...], Field(strict=False)] = ()
    """What this machine has and others lack; a script with labels runs only if it has them all."""
    scripts_file: FilePath
    """The scripts this agent may run, as in a local runner; no other ones ever are."""
    spool_dir: FilePath = "./spool"
    """The folder for output on its way to the front."""

    _scripts: tuple[ScriptConfig, ...] = PrivateAttr(default=())
    _warnings: list[str] = PrivateAttr(default_factory=list)

    @property
    def agent_name(self) -> str:
        """What the agent is called."""
        host = socket.gethostname().partition(".")[0]
        return self.name or re.sub("[^A-Za-z0-9_-]", "-", host)[:64] or "agent"

    @property
    def scripts(self) -> tuple[ScriptConfig, ...]:
        """The scripts as they were read at first."""
        return self._scripts

    @property
    def scripts_path(self) -> Path:
        """The file that lists them."""
        return Path(self.scripts_file)

    @property
    def warnings(self) -> list[str]:
        """What may be a mistake of the files, though they can be used."""
        faults = [(script, script_fault(script)) for script in self.scripts]
        return [
            *self._warnings,
            *(f"script {script.id}: {script.path}: {fault}" for script, fault in faults if fault),
        ]

    def read_scripts(self) -> tuple[ScriptConfig, ...]:
        """Read the scripts again, as they are on the disk now.

        Raises:
            ConfigError: If that cannot be done.
        """
        return read(self.scripts_path, ScriptsFile, []).scripts


def load_agent(path: Path) -> AgentConfig:
    """Read and check the configuration of an agent.

    Args:
        path: The `agent.json`.

    Raises:
        ConfigMissing: If there is no such file.
        ConfigError: If it, or the scripts file, cannot be used.
    """
    warnings: list[str] = []
    config = read(path, AgentConfig, warnings)
    try:
        config._scripts = read(config.scripts_path, ScriptsFile, warnings).scripts
    except ConfigMissing as error:
        raise ConfigError(f"{error}, but scriptsFile of {path} names it") from error
    config._warnings = warnings
    return config
