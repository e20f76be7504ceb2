"""Hiding credentials in what a server says, however it has written them."""

from __future__ import annotations

import html
import json
import urllib.parse
from collections.abc import Callable

import pytest

from script_runner._redaction import Redaction

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
SECRETS = ["s3cret/pass", "a&b <\"'> +%", "密码 é😀", "back\\slash\\\\es", "tab\tand\nline", "x1"]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_in_every_form(secret: str, form: Callable[[str], str]) -> None:
    text = f"[{form(secret)}]"
    shown = Redaction([secret])(text)
    # As it is it is replaced; else all is hidden.
    assert shown in ("[…]", "…")
    assert shown == "[…]" or secret not in text


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


def test_a_text_in_which_nothing_is_hidden_is_shown_as_it_is() -> None:
    text = "50% of \\x and &amp; + \\u12 \\ud800 %zz\\"
    assert Redaction(["s3cret"])(text) == text
