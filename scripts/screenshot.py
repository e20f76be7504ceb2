"""Write `docs/page.png`: the page of the local runner, which serves `examples/`, with a job."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
from playwright.sync_api import expect

from scripts.browser import NoBrowser, chromium
from scripts.demo import ROOT, examples_served
from scripts.stopping import exit_when_told

PICTURE = ROOT / "docs" / "page.png"
WIDTH, HEIGHT = 1200, 760
RUNS = [
    ("greet", ["Ada", "Grace Hopper"]),
    ("fail", ["7"]),
    ("long-task", ["300"]),
    ("long-task", ["240"]),
    ("count", ["40"]),
]
"""What is run, the last of which is shown while it runs."""


def take(picture: Path) -> None:
    """Write the picture."""
    with (
        examples_served() as url,
        chromium() as browser,
        httpx.Client(base_url=url, trust_env=False) as runner,
    ):
        for script_id, args in RUNS:
            body = {"scriptId": script_id, "args": args, "mode": "async"}
            job_id = runner.post("/run", json=body).raise_for_status().json()["jobId"]
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"{url}/#job/{job_id}")
        expect(page.locator("#stdout")).to_contain_text("step 12 ")
        # The address that a reader will see, not the free port of this run.
        page.locator("#where").evaluate("node => { node.textContent = '127.0.0.1:3000'; }")
        page.screenshot(path=picture)


def main() -> int:
    """Run the command line; returns the exit code."""
    exit_when_told()
    try:
        take(PICTURE)
    except NoBrowser as missing:
        print(missing, file=sys.stderr)
        return 1
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
