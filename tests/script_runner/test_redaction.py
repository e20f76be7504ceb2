"""Hiding credentials in what a server says, however it has written them."""

from __future__ import annotations

import html
import json
import time
import urllib.parse
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from script_runner import connect, read_lines
from script_runner.address import secrets_of
from script_runner.redaction import Redaction
from tests.script_runner.log_strategies import QUICK
from tests.script_runner.page_server import log_server, reference

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda text: urllib.parse.quote(text, safe=""),
    "in a URL, in lower case": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "in a form": urllib.parse.quote_plus,
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON, with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "in JSON, in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "all of it escaped as in JSON": lambda text: "".join(
        f"\\u{unit:04X}" for unit in memoryview(text.encode("utf-16-le")).cast("H")
    ),
    "in HTML": html.escape,
    "in HTML, by numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "as repr": lambda text: repr(text)[1:-1],
    "as ascii": lambda text: ascii(text)[1:-1],
    "as repr of bytes": lambda text: repr(text.encode())[2:-1],
    "all of it escaped as bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "read as Latin-1": lambda text: text.encode().decode("latin-1"),
}
SECRETS = ["s3cret/pass", "a&b <\"'> +%", "密码 é😀", "back\\slash\\\\es", "tab\tand\nline", "x"]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_in_every_form(secret: str, form: Callable[[str], str]) -> None:
    assert Redaction([secret])(f"[{form(secret)}]") == "[…]"


secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
forms = st.sampled_from(list(FORMS.values()))


@QUICK
@given(secrets.filter(lambda text: "\\" not in text), st.data())
def test_a_secret_is_hidden_where_each_character_has_a_form_of_its_own(
    secret: str, data: st.DataObject
) -> None:
    written = "".join(data.draw(forms)(character) for character in secret)
    assert Redaction([secret])(f"[{written}]") == "[…]", written


def test_the_longer_secret_is_hidden_as_a_whole() -> None:
    assert Redaction(["pass", "password"])("password, pass") == "…, …"


def test_nothing_is_hidden_where_there_is_no_secret() -> None:
    assert Redaction([])("any text") == "any text"
    assert Redaction([""])("any text") == "any text"


@pytest.mark.parametrize("before", [*range(30), *range(85, 110), 180, 250, 1000])
@pytest.mark.parametrize("after", [0, 5, 5000])
def test_the_start_of_a_text_shows_no_part_of_a_secret(before: int, after: int) -> None:
    secret = "s3cret/pass"
    text = "日" * before + secret * 3 + "-" * after
    shown = Redaction([secret]).start(text.encode(), 100)
    assert shown == ("日" * before + "…" * 3 + "-" * after)[:100]


def test_a_text_of_many_backslashes_is_searched_in_no_time() -> None:
    secret = "\\a\\a\\a\\a\\a\\a\\a\\a\\b"
    begun = time.monotonic()
    assert Redaction([secret])(("\\" * 50 + "a") * 200).startswith("\\")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://host", ()),
        # Who asks is no secret where a password says that it is he ...
        ("http://any:s3cret%2Fpass@host", ("YW55OnMzY3JldC9wYXNz", "s3cret/pass")),
        ("http://any:a@host", ("YW55OmE=", "YW55OmE", "a")),
        # ... and is what lets him in where there is none.
        ("http://t0ken@host", ("dDBrZW46", "t0ken")),
        ("http://t0ken:@host", ("dDBrZW46", "t0ken")),
        ("http://:a@host", ("OmE=", "OmE", "a")),
    ],
)
def test_what_is_secret_of_a_url(url: str, wanted: tuple[str, ...]) -> None:
    assert dict.fromkeys(secrets_of(httpx.URL(url))) == dict.fromkeys(wanted)


def test_nothing_is_searched_for_secrets_where_all_goes_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To make what they are searched with takes longer than a call."""
    monkeypatch.setattr(Redaction, "__call__", None)
    monkeypatch.setattr(Redaction, "_pattern", None)
    with log_server(reference(b"a\n" * 100)) as server:
        runner = connect(server.url.replace("//", "//any:s3cret@"))
        assert read_lines(runner, "job_1", limit=1).lines == ["a"]
        assert read_lines(runner, "job_1", offset=99).lines == ["a"]
