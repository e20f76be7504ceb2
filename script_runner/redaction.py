"""Takes the credentials that were sent to a server out of what it says."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable, Iterator

LONGEST_ESCAPE = 16
r"""The most bytes that stand for one character of a secret, such as `\\ud83d\\ude00`."""

INSTEAD = "…"


class Redaction:
    """Hides secrets in texts, however a server has written them.

    Each character of a secret may stand there as it is, or escaped as in a URL, JSON, HTML, or
    Python's `repr` of text or bytes, with any number of backslashes.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Name the secrets; an empty text is none."""
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without the secrets. To be asked before it is cut: half of one is not known."""
        return self._pattern.sub(INSTEAD, text) if self._secrets else text

    def start(self, raw: bytes, size: int) -> str:
        """At most so many characters of the start of a long text, without the secrets."""
        longest = LONGEST_ESCAPE * max(map(len, self._secrets), default=0)
        looked_at = raw[: 4 * (size + longest)]
        text = looked_at.decode("utf-8", "replace")
        if len(looked_at) < len(raw):
            # What begins before this is whole; what begins later may be half a secret.
            end = max(0, len(text) - longest)
            text = text[: max([end, *self._ends_of_secrets_before(text, end)])]
        return self(text)[:size]

    def _ends_of_secrets_before(self, text: str, end: int) -> Iterator[int]:
        found = self._pattern.finditer(text) if self._secrets else ()
        return (secret.end() for secret in found if secret.start() < end)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Made only when something went wrong: it takes longer than a call.
        return re.compile("|".join(map(_pattern_of, self._secrets)))


def _pattern_of(secret: str) -> str:
    # Backslashes are looked for as one, since they may be doubled.
    return "".join(map(_pattern_of_character, re.sub(r"\\+", r"\\", secret)))


@functools.lru_cache(maxsize=256)
def _pattern_of_character(character: str) -> str:
    """What a character may have become. Possessive, so that no text takes long to search."""
    raw, units = character.encode(), character.encode("utf-16-be")
    code = ord(character)
    numbers = [f"&#{code};", f"&#x0*{code:x};", "".join(f"%{byte:02x}" for byte in raw)]
    if character == "\\":
        return rf"(?i:\\(?:x5c|u005c)?|{'|'.join(numbers)})++"
    escapes = [[f"U{code:08x}"], [f"x{code:02x}"], [f"x{byte:02x}" for byte in raw]]
    escapes.append([f"u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)])
    # The backslash may have been taken for a part of the secret before it.
    numbers += ["".join(rf"(?:\\++|(?<=\\)){each}" for each in parts) for parts in escapes]
    words = {character, html.escape(character), raw.decode("latin-1")}
    words |= {json.dumps(character)[1:-1].lstrip("\\"), "+" if character == " " else character}
    plain = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return rf"(?:(?i:{'|'.join(numbers)})|\\*+(?:{plain}))"
