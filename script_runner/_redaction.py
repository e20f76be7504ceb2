"""Takes the credentials that were sent to a server out of what it says."""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Iterable, Iterator

INSTEAD = "…"

MAX_DECODINGS = 4
"""How many times over a text is decoded to look for a secret."""

LONGEST_ESCAPE = 16
r"""The most bytes that stand for one character of a secret, such as `\\ud83d\\ude00`."""

_ESCAPE = r"(?s)\\+(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))"
# Not compiled here, for most processes have no error to redact.


class Redaction:
    """Hides secrets in texts, however a server has written them.

    A secret that stands there as it is is replaced. One that stands there encoded (as in a URL,
    in JSON, in HTML, in Python's `repr`) hides the whole text.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Name the secrets; an empty string is none."""
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._bare = [bare for secret in self._secrets if (bare := _bare(secret))]

    def __call__(self, text: str) -> str:
        """The text without the secrets. To be asked before it is cut: half of one is not known."""
        for secret in self._secrets:
            text = text.replace(secret, INSTEAD)
        if not self._bare:
            return text
        decoded = "\0".join(map(_bare, _decoded(text)))
        return INSTEAD if any(secret in decoded for secret in self._bare) else text

    def start(self, raw: bytes, size: int) -> str:
        """At most so many characters of the start of a long text, without the secrets."""
        # A secret that begins in what is shown ends in what is looked at.
        longest = LONGEST_ESCAPE * max(map(len, self._secrets), default=0)
        return self(raw[: 4 * size + longest].decode("utf-8", "replace"))[:size]


def _bare(text: str) -> str:
    """A text without backslashes: how many of them are an escape depends on who has written it."""
    return text.replace("\\", "")


def _decoded(text: str) -> Iterator[str]:
    """A text decoded once, twice and so on."""
    for _ in range(MAX_DECODINGS):
        yield text
        yield urllib.parse.unquote_plus(text)
        yield text.encode("latin-1", "replace").decode("utf-8", "replace")
        unquoted = html.unescape(urllib.parse.unquote(text))
        yield re.sub(_ESCAPE, lambda escape: _CONTROLS.get(escape[4], escape[0]), unquoted)
        decoded = re.sub(_ESCAPE, _unescaped, unquoted)
        # Two escapes may stand for the halves of one character.
        decoded = decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if decoded == text:
            return
        text = decoded
    yield text


_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    try:
        return chr(int(code, 16)) if code else escape[4]
    except (ValueError, OverflowError):
        return escape[0]
