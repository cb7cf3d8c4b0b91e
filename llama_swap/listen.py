"""Where the proxy listens: from what users write to what Twisted understands.  Pure."""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import SSL4ServerEndpoint, quoteStringArgument, serverFromString
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint

from llama_swap.errors import CannotListen

if TYPE_CHECKING:
    from twisted.internet.ssl import CertificateOptions

DEFAULT = "127.0.0.1:8080"
DEFAULT_TLS = "127.0.0.1:8443"
BACKLOG = 4096
"""Connections that may wait to be accepted.  With Twisted's 50, a burst of clients is a second late."""

# `tcp:8080` is an endpoint, and no host of that name
_HOST_PORT = re.compile(r"(?!(tcp6?|ssl|unix):)(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):(?P<port>\d{1,5})")

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@frozen
class Certificate:
    """Two PEM files: the certificate with the chain to its authority, and its key."""

    certificate: str
    key: str

    def options(self) -> CertificateOptions:
        """Return both in the form that Twisted takes.

        @raise CannotListen: they cannot be read, or do not fit together.
        """
        from OpenSSL import SSL, crypto
        from twisted.internet.ssl import Certificate, CertificateOptions, KeyPair

        try:
            leaf, *chain = _PEM.findall(Path(self.certificate).read_bytes()) or [b""]
            options = CertificateOptions(
                privateKey=KeyPair.load(Path(self.key).read_bytes(), crypto.FILETYPE_PEM).original,
                certificate=Certificate.loadPEM(leaf).original,
                extraCertChain=[Certificate.loadPEM(issuer).original for issuer in chain],
            )
            options.getContext()
        except OSError as error:
            raise CannotListen(f"{error.filename}: {error.strerror}") from None
        except (SSL.Error, crypto.Error, ValueError, TypeError) as error:
            files = f"{self.certificate} and {self.key}"
            raise CannotListen(
                f"{files} are not a certificate and its key, without a password, in PEM: {error}"
            ) from None
        return options


@frozen
class Address:
    """Where to listen, as users write it, and with which certificate, if the address does not say so itself."""

    text: str
    certificate: Certificate | None = None

    def endpoint(self, reactor: Any) -> IStreamServerEndpoint:
        """Return the endpoint.

        @raise CannotListen: there can be none.
        """
        if self.certificate is None:
            return _from_string(reactor, self.text)
        if (split := _split(self.text)) is None:
            raise CannotListen(
                f"cannot listen on {self.text!r} with -tls-cert-file: write HOST:PORT, or name the certificate there, "
                "as in ssl:8443:certKey=cert.pem:privateKey=key.pem"
            )
        host, port = split
        return SSL4ServerEndpoint(reactor, port, self.certificate.options(), BACKLOG, host)

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.certificate is not None or self.text.startswith("ssl:")

    def url(self, listening: IAddress) -> str:
        """Return what to type to reach it, now that it is listening."""
        return url_of(listening, "https" if self.is_secure else "http")


def endpoint_description(listen: str) -> str:
    """Return Twisted's endpoint string for `HOST:PORT`, `:PORT` (every interface), or a string that is one already.

    A socket in the file system is for its owner only, unless the string says `mode=`.

    @raise CannotListen: it is neither.
    """
    if (split := _split(listen)) is None:
        if ":" not in listen or re.match(r"[\d.]+:", listen):
            raise CannotListen(
                f"cannot listen on {listen!r}: write HOST:PORT, :PORT for every interface, "
                "or a Twisted endpoint such as unix:/run/llama-swap.sock"
            )
        is_open_socket = listen.startswith("unix:") and ":mode=" not in listen
        return f"{listen}:mode=600" if is_open_socket else listen
    host, port = split
    kind = "tcp6" if ":" in host else "tcp"
    return f"{kind}:{port}:interface={quoteStringArgument(host)}:backlog={BACKLOG}"


def _from_string(reactor: Any, listen: str) -> IStreamServerEndpoint:
    description = endpoint_description(listen)
    try:
        return serverFromString(reactor, description)
    except LookupError:
        raise CannotListen(f"cannot listen on {listen!r}: systemd handed over no such socket") from None
    except Exception as error:  # noqa: BLE001 - a missing certificate, a wrong number: each kind fails in its own way
        raise CannotListen(f"cannot listen on {listen!r}: {error}") from None


def check(listen: str) -> None:
    """Try whether a socket can be had at `listen`, while an error can still be told before everything else begins.

    @raise CannotListen: it cannot, or `listen` is malformed.
    """
    endpoint_description(listen)
    if (split := _split(listen)) is None:
        return  # Twisted's own strings are for Twisted to judge
    host, port = split
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
            tried.listen(1)
    except OSError as error:
        hint = "; another program has it, perhaps another llama-swap" if error.errno == errno.EADDRINUSE else ""
        raise CannotListen(f"cannot listen on {listen}: {error.strerror or error}{hint}") from None


def _split(listen: str) -> tuple[str, int] | None:
    match = _HOST_PORT.fullmatch(listen)
    if match is None:
        return None
    host, port = match["host"].strip("[]"), int(match["port"])
    if port > 65535:
        raise CannotListen(f"cannot listen on {listen!r}: ports end at 65535")
    # Without a host, on every interface: on Linux, the IPv6 wildcard takes IPv4 connections as well.
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 -- as was asked for
    return ("127.0.0.1" if host == "localhost" else host or everywhere, port)


def is_loopback(address: IAddress) -> bool:
    """Whether a listening address is this machine's alone, and one that its browsers reach."""
    return isinstance(address, (IPv4Address, IPv6Address)) and (
        address.host.startswith("127.") or address.host == "::1"
    )


def is_wide(address: IAddress) -> bool:
    """Whether a listening address is open to other machines."""
    return isinstance(address, (IPv4Address, IPv6Address)) and not is_loopback(address)


def url_of(address: object, scheme: str = "http") -> str:
    """Return what to type to reach a listening address."""
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    return str(address)
