"""URLs by chance: the server of a test, oddly written, or what no block may take for a URL.

No other host is ever named, and no port of this machine but the server's.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

from tests.faults.attempts import CREDENTIALS, PASSWORD, USER

PORT = "PORT"
"""Stands in a URL for the port of the server."""


class Target(NamedTuple):
    """A `script_runner_url`.

    Attributes:
        url: What a block is given, perhaps not even a text.
        prefix: The parts of its path; None where it must be refused.
        authorization: The header that must come of its credentials, if it has any.
    """

    url: Any
    prefix: list[str] | None = None
    authorization: str | None = None

    def at(self, port: int) -> Any:
        """The URL with the port of the server in it."""
        return self.url.replace(PORT, str(port)) if isinstance(self.url, str) else self.url


special_texts = st.sampled_from(["/", "a/b", "@", "?", "#", "%2F", "+", " ", ":"])
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | special_texts


def _spelled(texts: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    """A text and a way to write it in a URL."""
    letters = st.text(st.characters(categories=["Ll", "Lo", "Nd"]), min_size=1, max_size=8)
    quoted = st.tuples(texts, st.sampled_from(["", "!$&'()*+,;="]))
    return letters.map(lambda text: (text, text)) | quoted.map(
        lambda pair: (pair[0], quote(pair[0], safe=pair[1]))
    )


parts = _spelled(any_text.filter(lambda text: text not in ("", ".", "..")))
spaces = st.sampled_from(["", "", " ", "\n\t", "\u3000"])


@st.composite
def _credentials(draw: st.DrawFn) -> tuple[str, str | None]:
    """What stands before a host, and the header that is made of it."""
    if draw(st.booleans()):
        return "", None
    user, user_spelled = draw(_spelled(any_text))
    password, password_spelled = draw(_spelled(any_text))
    sent = f"{USER}{user}:{PASSWORD}{password}".encode()
    # They begin with what no message may show.
    begun = CREDENTIALS.replace(":", f"{user_spelled}:")
    return f"{begun}{password_spelled}@", f"Basic {base64.b64encode(sent).decode()}"


@st.composite
def _good(draw: st.DrawFn) -> Target:
    """The URL of the server in some spelling."""
    before, authorization = draw(_credentials())
    scheme = draw(st.sampled_from(["http", "HTTP", "hTtp"]))
    host = draw(st.sampled_from(["127.0.0.1", "localhost", "LocalHost", "0.0.0.0"]))
    zeros = draw(st.sampled_from(["", "0", "000"]))
    prefix = draw(st.lists(parts, max_size=3))
    path = "".join(f"/{spelled}" for _, spelled in prefix) + draw(st.sampled_from(["", "/", "//"]))
    url = f"{draw(spaces)}{scheme}://{before}{host}:{zeros}{PORT}{path}{draw(spaces)}"
    return Target(url, [part for part, _ in prefix], authorization)


AUTHORITY = f"{CREDENTIALS}@127.0.0.1:{PORT}"
BASE = f"http://{AUTHORITY}/tools"
scheme_characters = st.sampled_from("abhtpsHTPS019+-.")
not_http = st.sampled_from(["", "//", ":", "://", "http:", "http:/", "http:///"]) | (
    st.text(scheme_characters, max_size=6)
    .filter(lambda scheme: scheme.lower() not in ("http", "https"))
    .map(lambda scheme: f"{scheme}://")
)
hosts = ["", f"{CREDENTIALS}@", f":{PORT}", "/", "[]", "[::1", "::1", "[g]", "a..b", ".", "a" * 64]
no_ports = (
    st.integers(max_value=0)
    | st.integers(65_536)
    | st.sampled_from(["x", "[", "]", "%", "\\", ":", "-", "+80", "3_0", "\u0663"])
)
between = st.integers(1, len(BASE) - 1)
spacing = st.sampled_from([*map(chr, range(0x21)), "\x7f", "\x85", "\xa0", "\u2028", "\u3000"])
bad_texts = st.one_of(
    st.text(max_size=20).filter(lambda text: not text.strip().lower().startswith("http")),
    not_http.map(lambda scheme: f"{scheme}{AUTHORITY}"),
    st.sampled_from(hosts).map(lambda host: f"http://{host}"),
    no_ports.map(lambda port: f"http://{CREDENTIALS}@127.0.0.1:{port}"),
    st.builds(lambda mark, text: f"{BASE}{mark}{text}", st.sampled_from("?#"), any_text),
    st.builds(lambda one, two: f"{BASE}/{one}@{two}", any_text, any_text),
    st.builds(lambda at, space: f"{BASE[:at]}{space}{BASE[at:]}", between, spacing),
    st.just(f"{BASE}\ud800"),
)


@st.composite
def targets(draw: st.DrawFn, json_values: st.SearchStrategy[Any]) -> Target:
    """The server in most cases, else what must be refused: a text or a value of another type."""
    if draw(st.integers(0, 4)) < 4:
        return draw(_good())
    # What is left out or null is the default, which is another runner.
    no_texts = json_values.filter(lambda value: value is not None and not isinstance(value, str))
    return Target(draw(bad_texts | no_texts))
