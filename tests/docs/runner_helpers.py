"""Helpers of those who provoke messages of the local runner: its files, its log."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path


def write(folder: Path, config: object, scripts: object = None) -> Path:
    """Write config.json and scripts.json: bytes as they are, anything else as JSON."""
    for name, content in (("config.json", config), ("scripts.json", scripts)):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name).write_bytes(raw)
    return folder / "config.json"


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """Collect the sentences that the local runner logs."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields: Mapping[str, object] = getattr(record, "fields", {"message": record.msg})
            if "message" in fields:
                lines.append(str(fields["message"]))

    logger, collector = logging.getLogger("local_runner"), Collector()
    before, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(collector)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
        logger.setLevel(before)
        logger.propagate = propagate
