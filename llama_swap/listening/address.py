"""Where the proxy listens: from what users write to Twisted's endpoints.  Pure."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path
from typing import Any, TypeGuard

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import SSL4ServerEndpoint, quoteStringArgument, serverFromString
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint

from llama_swap.errors import CannotListen
from llama_swap.listening.certificate import Certificate
from llama_swap.net.loopback import is_loopback_address

DEFAULT_ADDRESS = "127.0.0.1:8080"
DEFAULT_TLS_ADDRESS = "127.0.0.1:8443"
BACKLOG = 4096
"""The most connections that may wait to be accepted.  With Twisted's 50, some of a burst connect a second late."""

# `tcp:8080` is an endpoint, and no host of that name
_HOST_PORT = re.compile(r"(?!(tcp6?|ssl|unix):)(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):(?P<port>\d{1,5})")

# in `ssl:8443:certKey=cert.pem:privateKey=key.pem`
_FILE = re.compile(r":(certKey|privateKey)=((?:\\.|[^\\:])+)")

# where a relative path begins in `unix:swap.sock` and the like
_RELATIVE = re.compile(r"(^unix:(?!\w+=)|:(address|certKey|privateKey|extraCertChain|dhParameters)=)(?=[^/:])")

_INTERFACE = re.compile(r":interface=((?:\\.|[^\\:])*)")

OPEN_TO_ALL = (
    "every machine that can reach this one can use, start and stop the models; if that is not what you want, set "
    "apiKeys in the configuration, or listen on 127.0.0.1"
)
"""The warning for a proxy that other machines can reach, without API keys."""

_EVERY_INTERFACE = frozenset({"::", "0.0.0.0"})  # noqa: S104

_FORMS = "write HOST:PORT, :PORT for every interface, or a Twisted endpoint such as unix:/run/llama-swap.sock"
_HINTS = {
    errno.EADDRINUSE: "; another program has it, perhaps another llama-swap",
    errno.EADDRNOTAVAIL: "; this machine does not have that address",
    errno.EACCES: "; ports below 1024 are for root",
}


@frozen
class Address:
    """Where to listen, as users write it, and the certificate, unless the address itself names one."""

    text: str
    certificate: Certificate | None = None

    def endpoint(self, reactor: Any) -> IStreamServerEndpoint:
        """Return the endpoint.

        @raise CannotListen: the address is malformed, or its certificate or its socket is missing.
        """
        if self.certificate is None:
            return _from_string(reactor, self.text)
        if (split := _split(self.text)) is None:
            raise CannotListen(
                f"cannot listen on {self.text!r} with --tls-cert-file: write HOST:PORT, or name the certificate there, "
                "as in ssl:8443:certKey=cert.pem:privateKey=key.pem"
            )
        host, port = split
        return SSL4ServerEndpoint(reactor, port, self.certificate.options(), BACKLOG, host)

    @property
    def is_secure(self) -> bool:
        """Whether clients must use TLS there."""
        return self.certificate is not None or self.text.startswith("ssl:")

    @property
    def is_given(self) -> bool:
        """Whether the socket is one that systemd hands over at the start."""
        return self.text.startswith("systemd:")

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read to listen there: a certificate and its key, if any."""
        shown = self.certificate or _certificate_in(self.text)
        return () if shown is None else (shown.certificate, shown.key)

    def told(self, listening: IAddress) -> str:
        """Return where it listens, for people: the URL first."""
        return told(listening, "https" if self.is_secure else "http")


def anchored(listen: str, base: Path) -> str:
    """Return `listen` with its relative paths made absolute, starting from `base`."""
    directory = quoteStringArgument(str(base)).replace("=", r"\=")  # which `quoteStringArgument` does not escape
    return _RELATIVE.sub(lambda match: f"{match[0]}{directory}/", listen)


def endpoint_description(listen: str) -> str:
    """Return Twisted's endpoint string for `HOST:PORT`, `:PORT` (every interface), or a string that is one already.

    A socket in the file system is for its owner only, unless the string says `mode=`.

    @raise CannotListen: it is neither.
    """
    if (split := _split(listen)) is None:
        if ":" not in listen or re.match(r"[\d.]+:", listen):
            raise CannotListen(f"cannot listen on {listen!r}: {_FORMS}")
        is_open_socket = listen.startswith("unix:") and ":mode=" not in listen
        return f"{listen}:mode=600" if is_open_socket else listen
    host, port = split
    kind = "tcp6" if ":" in host else "tcp"
    return f"{kind}:{port}:interface={quoteStringArgument(host)}:backlog={BACKLOG}"


def _from_string(reactor: Any, listen: str) -> IStreamServerEndpoint:
    description = endpoint_description(listen)
    if (certificate := _certificate_in(listen)) is not None:
        try:
            certificate.options()  # Twisted reads it as well, but reports OpenSSL's errors as they are
        except CannotListen as error:
            raise CannotListen(f"cannot listen on {listen!r}: {error}") from None
    try:
        return serverFromString(reactor, description)
    except LookupError:
        raise CannotListen(f"cannot listen on {listen!r}: systemd handed over no such socket") from None
    except ValueError as error:  # an unknown type, or no number where one belongs
        raise CannotListen(f"cannot listen on {listen!r}: {error}; {_FORMS}") from None
    except Exception as error:  # noqa: BLE001 - a missing certificate, a wrong number: each kind fails in its own way
        raise CannotListen(f"cannot listen on {listen!r}: {error}") from None


def _certificate_in(listen: str) -> Certificate | None:
    """Return the certificate that an endpoint string names; None if it is not for TLS."""
    if not listen.startswith("ssl:"):
        return None
    # The defaults of Twisted's parser of such strings.
    files = {name: re.sub(r"\\(.)", r"\1", path) for name, path in _FILE.findall(listen)}
    key = files.get("privateKey", "server.pem")
    return Certificate(files.get("certKey", key), key)


def try_to_listen(listen: str) -> None:
    """Try to listen at `listen` and stop again, so that an error shows before anything is started.

    @raise CannotListen: it cannot, or `listen` is malformed.
    """
    endpoint_description(listen)
    if (split := _split(listen)) is None:
        return  # Twisted judges its own endpoint strings
    host, port = split
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
            tried.listen(1)
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise CannotListen(f"cannot listen on {listen}: {error.strerror or error}{hint}") from None


def _split(listen: str) -> tuple[str, int] | None:
    match = _HOST_PORT.fullmatch(listen)
    if match is None:
        return None
    host, port = match["host"].strip("[]"), int(match["port"])
    if port > 65535:
        raise CannotListen(f"cannot listen on {listen!r}: ports end at 65535")
    # Without a host: every interface.  On Linux, the IPv6 wildcard accepts IPv4 connections as well.
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 -- as was asked for
    return ("127.0.0.1" if host == "localhost" else host or everywhere, port)


def is_loopback(address: IAddress) -> bool:
    """Whether a listening address is a TCP address of the loopback device."""
    return isinstance(address, (IPv4Address, IPv6Address)) and is_loopback_address(address.host)


def is_wide(address: IAddress) -> TypeGuard[IPv4Address | IPv6Address]:
    """Whether other machines can reach a listening address."""
    return isinstance(address, (IPv4Address, IPv6Address)) and not is_loopback(address)


def will_be_wide(listen: str) -> bool:
    """Whether other machines will reach `listen`, as far as the text tells."""
    if (match := _HOST_PORT.fullmatch(listen)) is not None:
        host = match["host"].strip("[]")
    elif re.match(r"(haproxy:)?(tcp6?|ssl):", listen):
        interface = _INTERFACE.search(listen)
        host = re.sub(r"\\(.)", r"\1", interface[1]) if interface else ""
    else:
        return False  # a UNIX socket, a socket that only systemd knows, or nonsense
    return host != "localhost" and not is_loopback_address(host)


def told(address: object, scheme: str = "http") -> str:
    """Return a listening address for people: the URL first."""
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return str(address)
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    if address.host in _EVERY_INTERFACE:  # which is no address to connect to
        return f"{scheme}://localhost:{address.port} (every interface: {host}:{address.port})"
    return f"{scheme}://{host}:{address.port}"
