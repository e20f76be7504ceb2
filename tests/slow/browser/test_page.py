"""The page of the local runner as somebody uses it: in a real browser, by mouse and by keyboard."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from scripts.runner_process import RunnerProcess
from tests.local_runner.talk import TAP, Tap
from tests.support.cluster import Cluster

LINES = 60_000
SCRIPTS = {
    "tap": TAP,
    "sleep": "#!/bin/sh\nexec sleep 300\n",
    "print": "#!/bin/sh\nprintf '%s\\n' \"$@\"\n",
    "nothing": "#!/bin/sh\n",
    "lines": f"#!/bin/sh\nseq -f '\033[32m%.0f\033[0m 日志' {LINES}\n",
    "terminal": "#!/bin/sh\nprintf '\\033]0;x\\007\\033[1;31mred\\033[0m\\r\\n1%%\\rdone\\n'\n",
    "markup": "#!/bin/sh\nprintf '%s\\n' \"$1\" '<img src=x onerror=alert(1)>' >&2\n",
}
MARKUP = "<b>id</b>"
DESCRIPTION = "</p><script>alert(5)</script>"
RULES: dict[str, dict[str, Any]] = {
    "markup": {
        "id": MARKUP,
        "description": DESCRIPTION,
        "maxConcurrent": 3,
        "args": {"maxItems": 1},
    },
    "print": {"args": {"maxItems": 3, "itemPattern": "^[a-z]+$", "itemMaxLength": 9}},
    "nothing": {"mode": "sync", "timeoutSec": 90, "args": {"maxItems": 0}},
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(
        tmp_path_factory.mktemp("page"),
        SCRIPTS,
        runner={"maxConcurrent": 4, "maxLogBytesPerStream": 10_000_000, "killGraceSeconds": 0.2},
        rules=RULES,
    ) as started:
        yield started


def status(tab: Page, word: str) -> None:
    """Wait until the job that is open has a status."""
    expect(tab.locator("main .badge")).to_have_text(word)


def log(tab: Page, stream: str) -> str:
    return tab.locator(f"#{stream}").inner_text()


def test_a_script_is_run_and_watched_to_its_end(
    tab: Page, runner: RunnerProcess, tmp_path: Path
) -> None:
    tab.goto(runner.url)
    tab.get_by_role("link", name="tap").click()
    with Tap(tmp_path) as tap:
        tab.get_by_label("Argument 1").fill(tap.path)
        tab.get_by_role("button", name="Run tap").click()

        status(tab, "Running")
        expect(tab.get_by_role("heading", name="tap")).to_be_focused()
        expect(tab.locator("main > .chips")).to_have_text(tap.path)
        expect(tab.get_by_role("navigation")).to_contain_text("tap1 running")
        for line in ("first\n", "second\n"):
            tap.write(line.encode())
            expect(tab.locator("#stdout")).to_contain_text(line)
    status(tab, "Succeeded")

    expect(tab.locator("main")).to_contain_text("exit code 0")
    expect(tab.get_by_role("status")).to_have_text("Succeeded: tap")
    expect(tab).to_have_title("Succeeded: tap · script-runner")
    expect(tab.get_by_role("region", name="stderr")).to_contain_text("Nothing was written.")
    assert log(tab, "stdout") == "first\nsecond\n"
    tab.get_by_role("link", name="All jobs").click()
    row = tab.get_by_role("list", name="Jobs, the newest first").get_by_role("listitem").first
    expect(row).to_contain_text(re.compile(r"^Succeededtap/.*/tap\d.* (s|ms|min).*(ago|now)$"))


def test_a_job_is_run_cancelled_and_run_again_by_the_keyboard(
    tab: Page, runner: RunnerProcess
) -> None:
    tab.goto(f"{runner.url}/#script/sleep")
    press_until_focused(tab, "Argument 1")
    tab.keyboard.type("one")
    press_until_focused(tab, "Add an argument")
    tab.keyboard.press("Enter")
    expect(tab.get_by_label("Argument 2")).to_be_focused()
    tab.keyboard.type("two")
    tab.keyboard.press("Shift+Enter")
    tab.keyboard.type("lines")
    tab.keyboard.press("Enter")
    status(tab, "Running")
    press_until_focused(tab, "Cancel the job")
    tab.keyboard.press("Enter")

    status(tab, "Cancelled")
    expect(tab.get_by_role("button", name="Run again…")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="sleep")).to_be_focused()
    expect(tab.get_by_label("Argument 1")).to_have_value("one")
    expect(tab.get_by_label("Argument 2")).to_have_value("two\nlines")


def press_until_focused(tab: Page, name: str) -> None:
    """Go on by the key Tab, as far as what has a name."""
    focused = (
        "document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent"
    )
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate(focused) == name:
            return
    pytest.fail(f"{name} cannot be reached by the keyboard")


def test_a_form_says_what_its_script_takes_and_the_runner_decides(
    tab: Page, runner: RunnerProcess
) -> None:
    tab.goto(f"{runner.url}/#script/print")
    expect(tab.get_by_role("form", name="Run print")).to_match_aria_snapshot("""
        - form "Run print":
          - paragraph:
            - text: Takes up to 3 arguments. Each has at most 9 characters and matches
            - code: ^[a-z]+$
          - text: Argument 1
          - textbox "Argument 1"
          - button "Run print"
          - button "Add an argument"
    """)
    for text, hint in (
        ("No", "It does not match the pattern."),
        ("abcdefghij", "It has 10 characters: 9 are the most."),
        ("yes", ""),
        ("No", "It does not match the pattern."),
    ):
        tab.get_by_label("Argument 1").fill(text)
        expect(tab.locator(".hint")).to_have_text(hint)
    tab.get_by_role("button", name="Run print").click()

    expect(tab.get_by_role("form").get_by_role("alert")).to_have_text(
        "arg[0] does not match pattern"
    )
    expect(tab.get_by_label("Argument 1")).to_be_focused()
    tab.get_by_label("Argument 1").fill("yes")
    tab.get_by_role("button", name="Add an argument").click()
    tab.get_by_role("button", name="Run print").click()
    status(tab, "Succeeded")
    expect(tab.locator("#stdout")).to_have_text("yes")


def test_the_jobs_are_paged_and_filtered(tab: Page, runner: RunnerProcess) -> None:
    for _ in range(55):
        runner.run("nothing")
    runner.run("print", "x", "y")
    rows = tab.locator(".jobs li")
    tab.goto(runner.url)
    expect(rows).to_have_count(50)
    edges = tab.locator(".took").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect().right)"
    )
    assert len(set(edges)) == 1
    tab.goto(f"{runner.url}/#script/nothing")
    expect(tab.locator("main")).to_contain_text("time limit 1 min 30 s")
    expect(tab.locator("main")).to_contain_text("Takes no arguments.")
    expect(rows).to_have_count(50)
    tab.get_by_role("link", name="Older →").click()
    expect(rows).to_have_count(5)
    expect(tab.get_by_role("link", name="Older →")).to_have_count(0)
    tab.get_by_role("link", name="← Newest").click()
    expect(rows).to_have_count(50)
    tab.get_by_role("link", name="Timed out", exact=True).click()

    expect(tab.locator("main")).to_contain_text("No job here is “Timed out”.")
    expect(tab.get_by_role("link", name="Timed out", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    tab.go_back()
    expect(rows).to_have_count(50)
    tab.goto(f"{runner.url}/#jobs?before=job_1_1")
    expect(tab.locator("main")).to_contain_text("before: job not found: job_1_1")
    tab.goto(f"{runner.url}/#job/job_1_1")
    expect(tab.locator("main")).to_contain_text("job not found: job_1_1. The runner keeps")


def test_a_long_log_is_paged_and_every_line_can_be_read(tab: Page, runner: RunnerProcess) -> None:
    job_id = runner.run("lines")["jobId"]
    tab.goto(f"{runner.url}/#job/{job_id}")
    shown = tab.locator("#stdout")
    expect(shown).to_contain_text(f"{LINES} 日志")
    last_page = log(tab, "stdout")
    tab.get_by_role("button", name="Earlier").click()
    expect(shown).not_to_contain_text(f"{LINES} 日志")
    page_before = log(tab, "stdout")

    numbers = [int(line.split()[0]) for line in (page_before + last_page).splitlines()]
    assert numbers == list(range(numbers[0], LINES + 1))
    assert "\x1b" not in page_before
    tab.get_by_role("button", name="Beginning").click()
    expect(shown).to_contain_text("1 日志\n2 日志\n")
    found = ""
    while True:
        page = log(tab, "stdout")
        assert len(page) < 100_000
        found += page
        if f"\n{LINES} 日志" in page:
            break
        tab.get_by_role("button", name="Later").click()
        expect(shown).not_to_have_text(page)
    assert found == "".join(f"{number} 日志\n" for number in range(1, LINES + 1))
    tab.get_by_role("button", name="Beginning").click()
    tab.get_by_role("button", name="End", exact=True).click()
    expect(shown).to_contain_text(f"{LINES} 日志")


def test_a_log_that_outruns_the_page_is_followed_at_its_end(
    tab: Page, runner: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        tab.goto(f"{runner.url}/#job/{job_id}")
        tap.write(b"begin\n")
        expect(tab.locator("#stdout")).to_have_text("begin\n")
        for number in range(3):
            tap.write(b"%d\n" % number + b"x" * 999 + b"\n")
        expect(tab.locator("#stdout")).to_contain_text("begin")
        for _ in range(600):
            tap.write(b"x" * 998 + b"\n")
        tap.write(b"newest\n")
        expect(tab.locator("#stdout")).to_contain_text("newest")
        assert len(log(tab, "stdout")) < 400_000

        tab.locator("#stdout").evaluate("pre => { pre.scrollTop = 0; }")
        before = log(tab, "stdout")
        tap.write(b"later\n")
        expect(tab.locator("main")).to_contain_text(re.compile(r"of 602,\d+"))
        assert log(tab, "stdout") == before
        tab.get_by_role("button", name="End", exact=True).click()
        expect(tab.locator("#stdout")).to_contain_text("later")


@pytest.mark.parametrize(
    ("is_hidden", "least", "most"), [(False, 5, 18), (True, 2, 4)], ids=["seen", "hidden"]
)
def test_a_page_where_nothing_changes_asks_for_the_lists_alone_and_ever_less(
    tab: Page, runner: RunnerProcess, is_hidden: bool, least: int, most: int
) -> None:
    """Two minutes by the clock of the page, which goes on as it is told."""
    runner.run("nothing")
    tab.add_init_script(
        f"Object.defineProperty(document, 'hidden', {{ get: () => {json.dumps(is_hidden)} }})"
    )
    tab.clock.install()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(httpx.URL(request.url).path))
    tab.goto(runner.url)
    expect(tab.locator(".jobs li").first).to_be_visible()
    drawn = len(asked)

    for _ in range(120):
        tab.clock.run_for(1000)

    assert set(asked[drawn:]) == {"/scripts", "/jobs"}
    assert least <= asked.count("/scripts") <= most


def test_output_looks_as_on_a_terminal_without_colours(tab: Page, runner: RunnerProcess) -> None:
    tab.goto(f"{runner.url}/#job/{runner.run('terminal')['jobId']}")

    expect(tab.locator("#stdout")).to_have_text("red\ndone\n")


def test_nothing_that_a_script_prints_or_is_given_becomes_markup(
    tab: Page, runner: RunnerProcess
) -> None:
    argument = "</code><script>alert(2)</script>"
    job_id = runner.run(MARKUP, argument)["jobId"]
    tab.goto(f"{runner.url}/#script/%3Cb%3Eid%3C%2Fb%3E")
    expect(tab.locator("h1")).to_have_text(MARKUP)
    expect(tab.locator(".lead")).to_have_text(DESCRIPTION)
    expect(tab.locator("main")).to_contain_text("no time limit · at most 3 at once")
    expect(tab.get_by_role("form")).to_contain_text(
        "Takes one argument. It has at most 1024 characters."
    )
    tab.get_by_text(argument).click()

    expect(tab.locator("#stderr")).to_have_text(f"{argument}\n<img src=x onerror=alert(1)>\n")
    expect(tab.locator("main > .chips")).to_have_text(argument)
    for name in ("<img src=x onerror=alert(3)>", job_id + "%", "%00"):
        tab.goto(f"{runner.url}/#job/{name}")
        expect(tab.locator("main")).to_contain_text("job not found")
    assert tab.locator("main img, main script, main b").count() == 0
    # If all else failed: neither markup nor inline code is taken from anywhere.
    tab = tab.context.new_page()
    tab.goto(runner.url)
    inserted = "document.body.innerHTML = '<img src=x onerror=alert(4)>'"
    assert (
        tab.evaluate(f"() => {{ try {{ {inserted} }} catch (e) {{ return e.name }} }}")
        == "TypeError"
    )


def test_the_token_is_asked_for_once_and_used_for_everything(
    browser: Browser, tmp_path: Path
) -> None:
    environment = {"SCRIPT_RUNNER_TOKEN": "secret"}
    with RunnerProcess(tmp_path, SCRIPTS, environment=environment) as runner:
        in_url = runner.url.replace("//", "//any:secret@")
        for password, url, code in (
            ("wrong", runner.url, 401),
            ("secret", runner.url, 200),
            ("secret", in_url, 200),
        ):
            login = {"username": "any", "password": password}
            context = browser.new_context(http_credentials=login)  # type: ignore[arg-type]
            tab = context.new_page()
            response = tab.goto(f"{url}/#script/nothing")
            assert response is not None
            assert response.status == code
            if code == 200:
                tab.get_by_role("button", name="Run nothing").click()
                status(tab, "Succeeded")
            context.close()


@pytest.fixture
def fixed_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_page_left_open_goes_on_when_the_runner_is_back(
    tab: Page, tmp_path: Path, fixed_port: int
) -> None:
    runner = RunnerProcess(tmp_path, SCRIPTS, server={"port": fixed_port})
    with runner:
        job_id = runner.submit("sleep")
        tab.goto(f"{runner.url}/#job/{job_id}")
        status(tab, "Running")
    expect(tab.get_by_role("alert").first).to_contain_text("The runner does not respond.")
    with runner:
        status(tab, "Cancelled")
        expect(tab.locator("#trouble")).to_be_empty()


def test_the_agents_of_a_cluster_are_shown_and_which_of_them_runs_a_job(
    tab: Page, tmp_path: Path
) -> None:
    rules = {"print": {"labels": ["gpu"]}, "nothing": {"labels": ["tape"]}}
    agents = {"box": {"labels": ["gpu"], "slots": 2}}
    with (
        Cluster(tmp_path / "cluster", SCRIPTS, agents=agents, rules=rules) as cluster,
        Tap(tmp_path) as tap,
    ):
        tab.goto(f"{cluster.front.url}/#script/nothing")
        box = tab.get_by_role("region", name="Agents").get_by_role("listitem")
        expect(box).to_have_text("boxgpu2 of 2 slots free")
        expect(tab.locator("main")).to_contain_text("No agent can run it now")
        tab.get_by_role("button", name="Run nothing").click()
        expect(tab.locator("main")).to_contain_text("waits for an agent that can run it")

        tab.get_by_role("link", name="print").click()
        expect(tab.locator("main")).to_contain_text("only on agents with gpu")
        expect(tab.locator("main")).not_to_contain_text("No agent can run it now")
        job_id = cluster.front.submit("tap", tap.path)
        tab.goto(f"{cluster.front.url}/#job/{job_id}")
        expect(tab.locator("main > .actions")).to_contain_text(re.compile(r"Running.* · on box · "))
        expect(tab.locator("main > .chips")).to_have_text(tap.path)
        expect(box).to_have_text("boxgpu1 running, 1 of 2 slots free")
        tab.get_by_role("link", name="All jobs").click()
        expect(tab.locator(".jobs li").first).to_contain_text(re.compile(r"tap/.*box · \d+ s"))

        cluster.agents["box"].send_signal(signal.SIGTERM)
        expect(box).to_have_text("boxgpu1 running, draining: takes no more jobs")
        tab.get_by_role("link", name="print").click()
        expect(tab.locator("main")).to_contain_text("No agent can run it now")

        cluster.agents["box"].send_signal(signal.SIGSTOP)
        expect(box).to_have_text("boxgpu1 running, away: it does not respond", timeout=20_000)
        cluster.agents["box"].send_signal(signal.SIGCONT)
        expect(box).to_have_text("boxgpu1 running, draining: takes no more jobs")
        tab.goto(f"{cluster.front.url}/#job/{job_id}")
        cluster.agents["box"].stop(signal.SIGKILL)
        status(tab, "Failed")
        expect(tab.locator("main").get_by_role("alert")).to_have_text("the agent was killed")
        expect(tab.locator("main > .actions")).to_contain_text("on box")
        expect(tab.locator("#agents")).to_be_hidden()


TEXTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  };
  const ground = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? ground(node.parentElement) : luminance(color);
  };
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const seen = [...document.body.querySelectorAll("*")].filter((node) => node.checkVisibility());
  return seen.filter((node) => [...node.childNodes].some(isText)).map((node) =>
    [node.textContent, luminance(getComputedStyle(node).color), ground(node)]);
}"""
"""The texts that are seen, with the luminance of each and of what it stands on (WCAG 2)."""

GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_can_be_read_light_and_dark_narrow_and_wide(
    tab: Page, runner: RunnerProcess, scheme: str, width: int
) -> None:
    runner.run("print", "a", "b", "c")
    job_id = runner.run(MARKUP, "x" * 300)["jobId"]
    tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    tab.set_viewport_size({"width": width, "height": 800})
    for fragment in ("#jobs", "#script/print", f"#job/{job_id}"):
        tab.goto(f"{runner.url}/{fragment}")
        expect(tab.locator("main .badge").first).to_be_visible()
        expect(tab.locator("nav [aria-current]")).to_be_in_viewport(ratio=1)
        texts = tab.evaluate(TEXTS)
        assert len(texts) > 10
        for text, *luminances in texts:
            dark, light = sorted(luminances)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, text
        assert (tab.evaluate(GROUND) == "rgb(246, 247, 249)") == (scheme == "light")
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= width


def test_the_page_is_made_of_its_own_files_alone(runner: RunnerProcess) -> None:
    index = runner.http.get("/")

    policy = index.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert index.headers["x-content-type-options"] == "nosniff"
    assert index.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<style|<script>| style=| on\w+=|//", index.text)
    for name, kind in {"app.js": "text/javascript", "style.css": "text/css"}.items():
        file = runner.http.get(f"/page/{name}")
        assert file.headers["content-type"] == f"{kind}; charset=utf-8"
    for path in ("/page/", "/page/__init__.py", "/page/../config.json", "/page/%2e%2e/app.py"):
        assert runner.http.get(path).status_code == 404
