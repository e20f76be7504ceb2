"""One local runner for the tests of scriptctl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.runner_process import RunnerProcess

_WAIT = 'while [ ! -e "$1/go" ]; do sleep 0.05; done'

SCRIPTS = {
    "args": '#!/bin/sh\nfor each; do printf "[%s]" "$each"; done\n',
    "both": "#!/bin/sh\nprintf 'out \\346\\227\\245\\377'\nprintf 'err\\n' >&2\nexit 3\n",
    "open": "#!/bin/sh\nprintf 'half a line'\nexit 3\n",
    "live": f"#!/bin/sh\necho first\n{_WAIT}\necho last\n",
    "percent": f"#!/bin/sh\necho 'at 40%'\n{_WAIT}\necho 'at 90%'\n",
    "polite": "#!/bin/sh\ntrap 'echo bye; exit 0' TERM\necho begun\nwhile :; do sleep 0.05; done\n",
    "stubborn": f"#!/bin/sh\ntrap '' TERM\necho begun\n{_WAIT}\n",
    "limited": "#!/bin/sh\nsleep 60\n",
    "odd": "#!/bin/sh\n",
    "unseen": "#!/bin/sh\n",
    "draws": f"#!/bin/sh\nprintf '\\rat 40%%'\n{_WAIT}\nprintf '\\rat 90%%\\n'\n",
    "lines": "#!/bin/sh\nseq -f '%.0f 日志' 20000\nprintf 'open'\n",
}


@pytest.fixture(scope="package")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """The runner."""
    folder: Path = tmp_path_factory.mktemp("scriptctl")
    rules: dict[str, dict[str, object]] = {
        "args": {"description": "Prints \x1b[31mits arguments", "maxConcurrent": 5},
        "limited": {"timeoutSec": 1},
        # A shell would take it for something else.
        "odd": {"id": "odd:it's $(a) b"},
        "unseen": {"id": "unseen\x1b[8m"},
    }
    with RunnerProcess(
        folder, SCRIPTS, rules=rules, runner={"killGraceSeconds": 20, "maxConcurrent": 20}
    ) as process:
        yield process


@pytest.fixture
def url(runner: RunnerProcess) -> str:
    """Where the runner is."""
    return runner.url
