"""What a page of the local runner costs it that is open in a browser while nothing happens."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from benchmarks.figures import Row, Settings, subject
from benchmarks.measuring import cpu_seconds, runner_in
from scripts.browser import NoBrowser, chromium

JOBS = 50
SETTLE_SECONDS = 3.0
"""The page has been drawn, and asks ever less often."""


@subject(
    "An open page",
    f"The list of {JOBS} jobs in a headless Chromium, from {SETTLE_SECONDS:g} s after it was "
    "opened; the processor time of the runner's process.",
)
def open_page(settings: Settings) -> Iterator[Row]:
    what = "the page open in a browser while nothing happens: what the runner takes of a core"
    seconds = 60 if settings.full else 6
    try:
        with (
            chromium() as browser,
            runner_in(settings.folder / "runner", {"quick": "echo done"}) as runner,
        ):
            for _ in range(JOBS):
                runner.run("quick")
            browser.new_page().goto(runner.url)
            time.sleep(SETTLE_SECONDS)
            before, browsers_before = cpu_seconds(runner.pid), _of_browsers()
            time.sleep(seconds)
            share = 100 * (cpu_seconds(runner.pid) - before) / seconds
            browsers = 100 * (_of_browsers() - browsers_before) / seconds
    except NoBrowser as missing:
        yield Row(what, f"not measured: {missing}", "", None)
        return
    measured = f"{share:.1f} %, the browser {browsers:.1f} %"
    yield Row(what, measured, "", share, "%", most=1)


def _of_browsers() -> float:
    """The processor time of all processes below this one that are of the browser."""
    children = psutil.Process().children(recursive=True)
    return sum(cpu_seconds(one.pid) for one in children if "chrom" in one.name())
