"""The URL of a script-runner: what it may look like, and the credentials in it.

Nothing of a URL that was refused is shown: what looks like a host may be part of a secret.
"""

from __future__ import annotations

import base64

import httpx

from script_runner.errors import InvalidInput

MAX_PORT = 65_535

_ESCAPES = "; in credentials write / ? # @ as %2F %3F %23 %40"


def checked_url(url: str) -> httpx.URL:
    """The URL of a script-runner, its path without a slash at the end.

    Raises:
        InvalidInput: If it is not a URL with http or https and a host that can be asked.
    """
    try:
        text = url.strip()
        parsed = httpx.URL(text)
        why = _why_not(text, parsed)
    # idna's own errors, which httpx lets through, are UnicodeErrors.
    except (httpx.InvalidURL, ValueError, TypeError, AttributeError):
        why = f"it cannot be read{_ESCAPES}"
    if why is not None:
        raise InvalidInput(
            "script_runner_url must be a URL such as http://localhost:3000 (http or https, no "
            f"query): {why}"
        )
    # The raw path: a %2F in a prefix is not a slash.
    return parsed.copy_with(raw_path=parsed.raw_path.rstrip(b"/") or b"/")


def _why_not(text: str, url: httpx.URL) -> str | None:
    """Why a URL cannot be used, None where it can."""
    if url.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not url.host:
        return "it has no host"
    if "?" in text or "#" in text:
        return f"it has a query or a fragment{_ESCAPES}"
    if b"@" in url.raw_path:
        return f"it has an @ after its host{_ESCAPES}"
    if any(character.isspace() for character in text):
        return "it has a space in it"
    host_and_port = text.partition("://")[2].partition("/")[0].rpartition("@")[2]
    port = host_and_port.rpartition("]")[2].partition(":")[2]
    # httpx takes whatever Python takes for a number.
    if port and not (port.isascii() and port.isdigit()):
        return "its port is not a number"
    return why_not_found(url)


def why_not_found(url: httpx.URL) -> str | None:
    """Why the host and port of a URL cannot be asked, None where they can.

    Raises:
        ValueError: If the host is no name that can be looked up.
    """
    if url.port is not None and not 0 < url.port <= MAX_PORT:
        return f"its port is not between 1 and {MAX_PORT}"
    # What the name is made of before it is looked up; an empty part or one too long is an error.
    url.raw_host.decode("ascii").encode("idna")
    return None


def secrets_of(url: httpx.URL) -> tuple[str, ...]:
    """What a server could repeat of the credentials in a URL: the password, and the header.

    The user name is no secret beside a password: it may be any word, such as `any`. Without a
    password it is what lets one in, and is one.
    """
    if not url.userinfo:
        return ()
    _, header = basic_auth(url).split()
    return header, header.rstrip("="), url.password or url.username


def basic_auth(url: httpx.URL) -> str:
    """The value of the Authorization header for the credentials in a URL."""
    credentials = f"{url.username}:{url.password}".encode()
    return "Basic " + base64.b64encode(credentials).decode("ascii")
