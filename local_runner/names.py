"""Host names and origins, in the one form in which they are compared: as a browser sends them."""

from __future__ import annotations

import ipaddress
import re

import idna

DEFAULT_PORTS = {"http": 80, "https": 443}
"""The port of a scheme that no browser writes."""

_NAME = r"[^/@:?#*\[\]\s]+"
_ORIGIN = re.compile(rf"(https?)://({_NAME}|\[[0-9a-f:.]+\])(?::(\d{{1,5}}))?/?", re.IGNORECASE)


def canonical(host: str) -> str:
    """A host of a request, a name or an address without a port, in the form to compare it in."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def host_name(written: str) -> str:
    """A host as people write it, such as `Bücher.example`, in the form of `canonical`.

    Raises:
        ValueError: If it is no host name or address, for instance because it has a port.
    """
    name = canonical(written)
    try:
        if ":" in name:
            return str(ipaddress.ip_address(name))
        # As browsers do it: UTS 46 without the restrictions that IDNA 2008 adds.
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False).rstrip(".")
        if re.fullmatch(_NAME, mapped):
            return ".".join(map(_ascii_label, mapped.split(".")))
    except ValueError:
        pass
    raise ValueError(f"{written!r} is not a name or an address without a port, such as box.example")


def origin(written: str) -> str:
    """An origin as people write it, as a browser sends it.

    Raises:
        ValueError: If it is not an origin such as `https://tools.example`.
    """
    if written == "null":
        return written
    match = _ORIGIN.fullmatch(written)
    if match is None:
        raise ValueError(f"{written!r} is not an origin such as https://tools.example")
    scheme, host = match[1].lower(), host_name(match[2])
    port = int(match[3] or DEFAULT_PORTS[scheme])
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + ("" if port == DEFAULT_PORTS[scheme] else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ascii_label(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
