"""Where a script-runner is: its URL, the credentials in it, the proxy on the way.

Nothing of a URL that was refused is shown: what looks like a host may be part of a secret.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import httpx

from script_runner._settings import CONTAINER_HOST
from script_runner._validation import string
from script_runner.errors import InvalidInput

MAX_PORT = 65_535

_ESCAPES = "; in credentials write / ? # @ as %2F %3F %23 %40"


@dataclass(frozen=True)
class Address:
    """Where a script-runner is.

    Attributes:
        url: Its URL, without credentials and without a slash at the end.
        authorization: The Authorization header; None if there are no credentials.
        proxy: The proxy of the environment; None if it is not used.
        secrets: What must not be shown of the credentials that are sent.
    """

    url: httpx.URL
    authorization: str | None = field(default=None, repr=False)
    proxy: httpx.URL | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The URL as messages show it."""
        return str(self.url).rstrip("/")

    @property
    def way(self) -> str:
        """How it is reached, as the end of a sentence; empty if directly."""
        if self.proxy is None:
            return ""
        return f" through the proxy {str(self.proxy.copy_with(userinfo=b'')).rstrip('/')}"

    @property
    def host_header(self) -> str:
        """The Host header; the zone of an IPv6 address means nothing to a server."""
        return re.sub(r"%[^\]]*(?=\])", "", self.url.netloc.decode("ascii"))

    @property
    def is_this_machine(self) -> bool:
        """Whether the host is this machine by its loopback interface."""
        return _is_loopback(self.url.host)


def address_of(url: str, name: str, token: str | None = None) -> Address:
    """Read the URL of a script-runner, and find the proxy for it.

    Args:
        url: `http://host:port`, with a prefix (`/tools`), with credentials, or without.
        name: What the caller calls the URL, for messages.
        token: The runner's token; the same as `any:TOKEN@` before the host.

    Raises:
        InvalidInput: If it is not a URL with http or https and a host that can be asked, or the
            proxy of the environment cannot be used.
    """
    checked = _checked(url, name)
    plain = checked.copy_with(userinfo=b"")
    authorization: str | None = None
    secrets: tuple[str, ...] = ()
    if token is not None:
        user, password = "any", string("token", token)
    else:
        user, password = checked.username, checked.password
    if user or password:
        authorization, secrets = _basic_auth(user, password), _secrets_of(user, password)
    proxy = _proxy_for(plain)
    if proxy is not None and proxy.userinfo:
        secrets += _secrets_of(proxy.username, proxy.password)
    return Address(plain, authorization, proxy, secrets)


def _checked(url: str, name: str) -> httpx.URL:
    try:
        text = url.strip()
        parsed = httpx.URL(text)
        why = _why_not(text, parsed)
    # idna's own errors, which httpx lets through, are UnicodeErrors.
    except (httpx.InvalidURL, ValueError, TypeError, AttributeError):
        why = f"it cannot be read{_ESCAPES}"
    if why is not None:
        raise InvalidInput(
            f"{name} must be a URL such as http://localhost:3000 (http or https, no query): {why}"
        )
    # The raw path: a %2F in a prefix is not a slash.
    return parsed.copy_with(raw_path=parsed.raw_path.rstrip(b"/") or b"/")


def _why_not(text: str, url: httpx.URL) -> str | None:
    """Why a URL cannot be used, None if it can."""
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
    return _why_not_found(url)


def _why_not_found(url: httpx.URL) -> str | None:
    """Why the host and port of a URL cannot be asked, None if they can.

    Raises:
        ValueError: If the host is no name that can be looked up.
    """
    if url.port is not None and not 0 < url.port <= MAX_PORT:
        return f"its port is not between 1 and {MAX_PORT}"
    # What the name is made of before it is looked up; an empty part or one too long is an error.
    url.raw_host.decode("ascii").encode("idna")
    return None


# -- credentials


def _basic_auth(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _secrets_of(user: str, password: str) -> tuple[str, ...]:
    """What a server could repeat of credentials: the password, and the header.

    The user name is no secret beside a password: it may be any word, such as `any`. Without a
    password it is what lets one in, and is one.
    """
    secret = password or user
    in_path = urllib.parse.quote(secret, safe="")
    header = _basic_auth(user, password).split()[1]
    encoded = base64.b64encode(secret.encode()).decode("ascii")
    return secret, in_path, header, header.rstrip("="), encoded, encoded.rstrip("=")


# -- the proxy of the environment


def _proxy_for(url: httpx.URL) -> httpx.URL | None:
    """The proxy of the environment for a URL; none for this machine and the container's host."""
    proxies = urllib.request.getproxies()
    value = proxies.get(url.scheme) or proxies.get("all")
    host = url.host
    if not value or _is_loopback(host) or host == CONTAINER_HOST:
        return None
    no_proxy = proxies.get("no")
    # macOS and Windows have such a list outside of the environment.
    if is_excepted(url, no_proxy) if no_proxy else urllib.request.proxy_bypass(host):
        return None
    variable = f"{url.scheme.upper()}_PROXY or ALL_PROXY"
    try:
        proxy = httpx.URL(value if "://" in value else f"http://{value}")
        why = _why_not_found(proxy)
    except (httpx.InvalidURL, ValueError):
        why = "it cannot be read as a URL"
    if why is not None:
        raise InvalidInput(
            f"{variable} of the environment cannot be used, {why}: correct it, or go around it "
            f"with NO_PROXY={host}"
        )
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise InvalidInput(
            f"{variable} of the environment names no http or https proxy, the only ones that can "
            f"be used; NO_PROXY={host} goes around it"
        )
    return proxy


def is_excepted(url: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY excepts a host, as curl reads it.

    Args:
        url: Whose host it is.
        no_proxy: Names, which except what is below them too, with or without a dot before or
            after them; addresses; networks such as `10.0.0.0/8`; each perhaps with a port.
    """
    host = url.host.partition("%")[0].rstrip(".").lower()
    port = url.port or (443 if url.scheme == "https" else 80)
    entries = re.split(r"[,\s]+", no_proxy.strip().lower())
    return any(_excepts(entry, host, port) for entry in entries if entry)


def _excepts(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _ip_address(host)
    # A bare IPv6 address has colons of its own.
    named = re.fullmatch(r"(\[[^]]*\]|[^:]*):(\d+)", entry)
    if named is not None:
        entry = named[1]
        if int(named[2]) != port:
            return False
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    name = entry.strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_loopback(host: str) -> bool:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _ip_address(host)
    # Connecting to 0.0.0.0, which servers print as where they listen, reaches this machine.
    return address is not None and (address.is_loopback or address.is_unspecified)


def _ip_address(host: str) -> Any:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
