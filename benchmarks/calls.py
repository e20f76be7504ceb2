"""What a block adds to the request it sends: in a warm process, and in a new one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import httpx
import requests

from benchmarks.blocks import ROOT, call_block, path_of
from benchmarks.figures import Benchmark, Result, Row, Settings, at_least, at_most, duration
from benchmarks.runner import LocalRunner
from benchmarks.timing import interleaved

BLOCK = "get-job-status"

_HTTPX_PROCESS = """
import sys, httpx
client = httpx.Client()
assert client.get(sys.argv[1] + "/jobs/" + sys.argv[2]).json()["status"] == "succeeded"
"""

_LOAD_AND_CALL = """
import importlib.util
spec = importlib.util.spec_from_file_location("block", sys.argv[3])
block = importlib.util.module_from_spec(spec)
spec.loader.exec_module(block)
outputs = block.main({"script_runner_url": sys.argv[1], "job_id": sys.argv[2]}, None)
assert outputs["status"] == "completed"
"""

_BLOCK_PROCESS = f"""
import sys, types
sys.modules["oocana"] = types.ModuleType("oocana")
sys.modules["oocana"].Context = object
{_LOAD_AND_CALL}"""

_BLOCK_PROCESS_WITH_OOCANA = f"import sys\n{_LOAD_AND_CALL}"


def _measure_warm(settings: Settings) -> Result:
    with (
        LocalRunner(settings.folder / "runner", {"quick": "echo done"}) as runner,
        httpx.Client() as client,
    ):
        job_id = str(runner.run("quick")["jobId"])
        url = f"{runner.url}/jobs/{job_id}"
        seconds = interleaved(
            {
                "block": lambda: call_block(BLOCK, runner.url, job_id=job_id),
                "httpx": lambda: client.get(url).json(),
                "requests": lambda: requests.get(url, timeout=30).json(),
            },
            rounds=4000 if settings.full else 1000,
        )
    block, bare, simple = (seconds[name] for name in ("block", "httpx", "requests"))
    what = f"one warm `{BLOCK}` call"
    return Result(
        [
            Row(
                what,
                duration(block),
                f"the same GET by a warm `httpx.Client`: {duration(bare)}",
                block / bare,
                reach=at_most(1.05),
            ),
            Row(
                f"{what}: how much faster than `requests.get`",
                duration(block),
                f"the same GET by `requests.get`, without a session: {duration(simple)}",
                simple / block,
                reach=at_least(1.6),
            ),
        ]
    )


def _measure_new_process(settings: Settings) -> Result:
    with LocalRunner(settings.folder / "runner", {"quick": "echo done"}) as runner:
        job = [runner.url, str(runner.run("quick")["jobId"]), str(path_of(BLOCK))]
        seconds = interleaved(
            {
                "block": lambda: _run_python(_BLOCK_PROCESS, job),
                "httpx": lambda: _run_python(_HTTPX_PROCESS, job),
                "oocana": lambda: _run_python(_BLOCK_PROCESS_WITH_OOCANA, job),
            },
            rounds=40 if settings.full else 15,
        )
    bare = f"a process that imports httpx and does the GET: {duration(seconds['httpx'])}"
    return Result(
        [
            Row(
                f"the first `{BLOCK}` call of a new process",
                duration(seconds["block"]),
                bare,
                seconds["block"] / seconds["httpx"],
                reach=at_most(1.25),
            ),
            Row(
                "the same, with the import of OOMOL's own `oocana` in it",
                duration(seconds["oocana"]),
                bare,
                seconds["oocana"] / seconds["httpx"],
            ),
        ]
    )


def _run_python(code: str, arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)


WARM_CALL = Benchmark(
    "warm-call",
    "One call",
    "On loopback, of an ended job of the local runner. Block, httpx and requests take turns call "
    "by call; medians.",
    _measure_warm,
)
NEW_PROCESS = Benchmark(
    "new-process",
    "The first call",
    "Wall time of whole Python processes, started in turns; medians. `oocana` is replaced by a "
    "stand-in, because OOMOL's executor has imported it before it loads a block; the second row "
    "has the real one.",
    _measure_new_process,
)
