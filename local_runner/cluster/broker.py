"""Where the broker is, and how to be let in."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from local_runner.config import ConfigError
from local_runner.processes.launcher import Unreachable

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_NKEY_SEED = re.compile(r"-----BEGIN USER NKEY SEED-----\n(\w+)\n")
_NATS_CREDENTIALS = "-----BEGIN NATS USER JWT-----"


class BrokerRefuses(Unreachable):
    """The broker does not let us in, or we do not trust it; trying again does not help."""


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and how to be let in.

    Attributes:
        urls: `nats://host:port` or `tls://host:port`, one for each broker.
        tls: What is trusted and shown if a URL is `tls://`.
        nats_credentials: A credentials file of NATS itself, or None.
        inbox: The subject under which responses come.
    """

    urls: list[str]
    tls: ssl.SSLContext | None
    nats_credentials: str | None
    inbox: str

    def refusal(self, error: BaseException) -> str | None:
        """Why an attempt to connect cannot succeed, or None if a later one may."""
        match error:
            case ssl.SSLCertVerificationError():
                why = f"its certificate is not trusted: {error.verify_message}"
            case ssl.SSLError():
                why = f"TLS failed: {error.reason or error}; is this the right credentials file?"
            case nats.errors.SecureConnWantedError():
                why = "it does not speak TLS, though its URL is tls://"
            case nats.errors.Error() if "authorization violation" in str(error).lower():
                why = "it does not accept the credentials"
            case _:
                return None
        return f"the broker at {', '.join(without_secrets(url) for url in self.urls)}: {why}"


class BrokerClient(Client):
    """nats-py, where it trusts what comes from the network too much.

    Attributes:
        demands_tls: Whether to say nothing to a broker that does not begin TLS.
    """

    demands_tls = False

    @property
    def is_reading(self) -> bool:
        """Whether messages arrive; nats-py calls itself connected although it has stopped to."""
        return self._reading_task is not None and not self._reading_task.done()

    def abandon(self) -> None:
        """Let go of a peer that has vanished: what was sent last is not delivered any more.

        `close` would wait for that as long as the system tries, a quarter of an hour.
        """
        self._pending, self._pending_data_size = [], 0
        if isinstance(self._transport, TcpTransport) and self._transport._io_writer:
            self._transport._io_writer.transport.abort()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py goes on without TLS if the broker, or who sits between, does not ask for it.
        if self.demands_tls and initial_connection and not info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        await super()._process_info(info, initial_connection)

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        # nats-py stops to read at a subject that is not UTF-8.
        subject, reply = (name.decode(errors="replace").encode() for name in (subject, reply))
        message: Msg = super()._build_message(sid, subject, reply, data, headers)
        return message


def broker(urls: tuple[str, ...], credentials: str | None, inbox: str) -> Broker:
    """Read the credentials.

    Args:
        urls: Where the broker is.
        credentials: A PEM file: a private key, its certificate, and what signed that of the
            broker (without, what the system trusts); or a credentials file of NATS (`.creds`), if
            need be with what signed the certificate of the broker.
        inbox: The subject under which responses come.

    Raises:
        ConfigError: If the file cannot be read or is neither.
    """
    tls = ssl.create_default_context() if urls[0].startswith("tls://") else None
    logging.getLogger("asyncio").addFilter(_is_of_use)
    if credentials is None:
        return Broker(list(urls), tls, None, inbox)
    try:
        text = Path(credentials).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"{credentials}: the credentials cannot be read: {reason}") from error
    if _NATS_CREDENTIALS in text:
        _check_nkeys(credentials, text)
        if tls is not None and (authorities := _CERTIFICATE.findall(text)):
            tls = _trusting(authorities)
        return Broker(list(urls), tls, credentials, inbox)
    if tls is None:
        raise ConfigError(f"{credentials}: a certificate needs a broker whose URL is tls://")
    try:
        tls.load_cert_chain(credentials)
        if authorities := _CERTIFICATE.findall(text)[1:]:
            tls = _trusting(authorities)
            tls.load_cert_chain(credentials)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{credentials}: neither a private key with its certificate (PEM) nor credentials of "
            f"NATS: {error}"
        ) from error
    return Broker(list(urls), tls, None, inbox)


def without_secrets(url: str) -> str:
    """A URL as a message may show it."""
    return re.sub(r"//[^/@]*@", "//", url)


def _is_of_use(record: logging.LogRecord) -> bool:
    # asyncio says it at each end of a connection that nats-py has put on TLS.
    return not record.getMessage().startswith("returning true from eof_received()")


def _trusting(authorities: list[str]) -> ssl.SSLContext:
    """Trust only what signed the broker's certificate, not every authority of the web as well."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(cadata="\n".join(authorities))
    return tls


def _check_nkeys(credentials: str, text: str) -> None:
    """Check what nats-py would read only when it connects, and fail by."""
    if importlib.util.find_spec("nkeys") is None:
        raise ConfigError(
            f"{credentials}: credentials of NATS need a package: pip install 'nats-py[nkeys]'"
        )
    try:
        seed = _NKEY_SEED.findall(text)[0]
        importlib.import_module("nkeys").from_seed(bytearray(seed, "ascii"))
    except Exception as error:  # whatever that package raises
        raise ConfigError(f"{credentials}: its NKEY SEED is not valid") from error
