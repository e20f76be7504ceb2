"""A wait that passes on what was written as it was written, and notices apart from it."""

from __future__ import annotations

from typing import Any

import pytest

from script_runner import AsyncScriptRunner, ScriptRunner
from tests.script_runner.scripted_runner import JOB_ID, ScriptedRunner, State

STATES = [
    State(stdout="a日".encode()[:3], stderr=b"not read"),
    State(stdout="a日\r".encode()),
    State(stdout="a日\r\rb\n".encode()),
    State("succeeded", stdout=b"ab"),
]


@pytest.mark.parametrize("is_async", [False, True])
async def test_text_is_exact_from_the_byte_on_that_was_asked_for(is_async: bool) -> None:
    seen: list[tuple[str, str]] = []
    lines: list[str] = []
    notices: list[str] = []
    options: dict[str, Any] = {
        "on_text": lambda text, stream: seen.append((stream, text)),
        "on_line": lambda line, _: lines.append(line),
        "on_notice": notices.append,
        "read_from": {"stdout": 1},
    }
    with ScriptedRunner(STATES).listening() as server:
        if is_async:
            async with AsyncScriptRunner(server.url) as runner:
                await runner.wait(JOB_ID, **options)
        else:
            with ScriptRunner(server.url) as runner:
                runner.wait(JOB_ID, **options)
    assert {stream for stream, _ in seen} == {"stdout"}
    assert "".join(text for _, text in seen) == "日\r\rb\n"
    assert lines == ["日\r\rb"]
    assert len(notices) == 1
    assert "shortened" in notices[0]
