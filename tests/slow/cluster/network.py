"""Machines of their own network: namespaces on a bridge, whose links can be cut without a word."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

CLONE_NEWNET = 0x40000000


def ip(*args: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *args], check=True, capture_output=True)


class Network:
    """A bridge in a namespace, which is where this process is meanwhile, and machines on it.

    Attributes:
        address: The address of the bridge: what runs here is reached by it.
    """

    address = "10.77.0.1"

    def __init__(self) -> None:
        """Name the namespaces; `made` makes them."""
        self._hub = f"srp{os.getpid()}"
        self._machines: dict[str, int] = {}

    def add(self, name: str) -> str:
        """Add a machine; returns its address."""
        number = len(self._machines) + 2
        self._machines[name] = number
        space, address = self._space(name), f"10.77.0.{number}"
        ip("netns", "add", space)
        ip("-n", space, "link", "set", "lo", "up")
        port = ("link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", self._hub, *port)
        ip("-n", self._hub, "link", "set", f"p{number}", "master", "br0")
        self.heal(name)
        ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        return address

    def cut(self, name: str) -> None:
        """Cut the link of a machine: nothing arrives, and nobody is told."""
        # Taken off the bridge only, it would still hear what is for the bridge's own address.
        ip("-n", self._hub, "link", "set", f"p{self._machines[name]}", "down")

    def heal(self, name: str) -> None:
        """Mend the link of a machine."""
        ip("-n", self._hub, "link", "set", f"p{self._machines[name]}", "up")

    def part(self, name: str, other: str) -> None:
        """Cut off two machines from each other: nothing arrives, but all others reach both."""
        for one, far in ((name, other), (other, name)):
            route = ("route", "add", "blackhole", f"10.77.0.{self._machines[far]}/32")
            ip("-n", self._space(one), *route)

    def on(self, name: str) -> list[str]:
        """What to put before a command that is to run on a machine."""
        return ["ip", "netns", "exec", self._space(name)]

    def _space(self, name: str) -> str:
        return f"{self._hub}-{name}"

    @contextlib.contextmanager
    def made(self) -> Iterator[Network]:
        """Make it, be in it, and remove it at the end."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            ip("netns", "add", self._hub)
            ip("-n", self._hub, "link", "set", "lo", "up")
            ip("-n", self._hub, "link", "add", "br0", "type", "bridge")
            ip("-n", self._hub, "addr", "add", f"{self.address}/24", "dev", "br0")
            ip("-n", self._hub, "link", "set", "br0", "up")
            self._enter(f"/run/netns/{self._hub}")
            yield self
        finally:
            self._enter(f"/proc/self/fd/{home}")
            os.close(home)
            for name in self._machines:
                subprocess.run(["ip", "netns", "del", self._space(name)], check=False)
            subprocess.run(["ip", "netns", "del", self._hub], check=False)

    def _enter(self, path: str) -> None:
        """Have this thread, and what it starts, in a namespace."""
        file = os.open(path, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(file)


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of the test's own; the test is skipped where none can be made."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2, to make network namespaces")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(Network().made())
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield made
