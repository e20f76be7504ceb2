"""What a block and the library add to the request they send: when warm, and in a new process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import requests

from benchmarks.figures import Row, Settings, slower, subject
from benchmarks.measuring import call_block, run_python, runner_in, timed_in_turns
from scripts.blocks import block_path

BLOCK = "get-job-status"
SCRIPT = {"quick": "echo done"}

_HTTPX = """
import sys, httpx
client = httpx.Client()
assert client.get(sys.argv[1] + "/jobs/" + sys.argv[2]).json()["status"] == "succeeded"
"""
_LIBRARY = """
import sys
from script_runner import connect
from generated_client.api.jobs import get_job
assert connect(sys.argv[1]).call(get_job, sys.argv[2]).status == "succeeded"
"""
_BLOCK = """
import importlib.util, sys, types
sys.modules["oocana"] = types.ModuleType("oocana")
sys.modules["oocana"].Context = object
spec = importlib.util.spec_from_file_location("block", sys.argv[3])
block = importlib.util.module_from_spec(spec)
spec.loader.exec_module(block)
outputs = block.main({"script_runner_url": sys.argv[1], "job_id": sys.argv[2]}, None)
assert outputs["status"] == "completed"
"""


@subject(
    "One call",
    "On loopback, of an ended job of the local runner. Block, httpx and requests take turns call "
    "by call; medians.",
)
def warm_call(settings: Settings) -> Iterator[Row]:
    with runner_in(settings.folder / "runner", SCRIPT) as runner, httpx.Client() as client:
        job_id = str(runner.run("quick")["jobId"])
        # Asked for once, for it is read out of the log of the runner.
        runner_url = runner.url
        url = f"{runner_url}/jobs/{job_id}"
        seconds = timed_in_turns(
            {
                "block": lambda: call_block(BLOCK, runner_url, job_id=job_id),
                "httpx": lambda: client.get(url).json(),
                "requests": lambda: requests.get(url, timeout=30).json(),
            },
            rounds=4000 if settings.full else 1000,
        )
    what = f"one warm `{BLOCK}` call"
    bare = "the same GET by a warm `httpx.Client`"
    yield slower(what, seconds["block"], bare, seconds["httpx"], most=1.05)
    bare = "the same GET by `requests.get`, without a session"
    yield slower(what, seconds["block"], bare, seconds["requests"], most=0.62)


@subject(
    "The first call",
    "Wall time of whole Python processes, started in turns; medians. `oocana` is replaced by a "
    "stand-in, because OOMOL's executor has imported it before it loads a block.",
)
def new_process(settings: Settings) -> Iterator[Row]:
    with runner_in(settings.folder / "runner", SCRIPT) as runner:
        job_id = str(runner.run("quick")["jobId"])
        job = [runner.url, job_id, str(block_path(BLOCK))]
        status = ["--url", runner.url, "status", job_id]
        seconds = timed_in_turns(
            {
                "block": lambda: run_python("-c", _BLOCK, *job),
                "library": lambda: run_python("-c", _LIBRARY, *job),
                "httpx": lambda: run_python("-c", _HTTPX, *job),
                "scriptctl": lambda: run_python("-m", "script_runner.cli", *status),
                "import": lambda: run_python("-c", "import httpx"),
            },
            rounds=40 if settings.full else 11,
            warm_up=1,
        )
    bare = ("a process that imports httpx and does the GET", seconds["httpx"])
    what = f"the first `{BLOCK}` call of a new process"
    yield slower(what, seconds["block"], *bare, most=1.25)
    what = "`import script_runner` and the first call of a new process"
    yield slower(what, seconds["library"], *bare, most=1.15)
    bare = ("`python -c 'import httpx'`", seconds["import"])
    yield slower(
        "`scriptctl status`, from its start to its end", seconds["scriptctl"], *bare, most=1.5
    )
