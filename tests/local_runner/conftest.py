"""What the tests of the local runner share beside `talk`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of two scripts, one of which is there."""
    path = tmp_path / "config.json"
    hello = {"id": "hello", "path": "./hello.sh", "timeoutSec": 30}
    content = {
        "server": {"port": 0},
        "scripts": [hello, {"id": "gone", "path": "./gone.sh", "mode": "async"}],
    }
    path.write_text(json.dumps(content))
    (tmp_path / "hello.sh").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "hello.sh").chmod(0o755)
    return path
