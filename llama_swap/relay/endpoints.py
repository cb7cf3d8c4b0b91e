"""How to reach an upstream.

Twisted's `HostnameEndpoint` reports a refused connection only after 0.3 s, and resolves even IP addresses: too slow to
probe a local server that is about to listen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import define, frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.errors import NobodyListens, UpstreamError
from llama_swap.net.loopback import is_loopback_address
from llama_swap.net.vanished import SILENCE, ask_when_silent
from llama_swap.relay.local import LoopbackEndpoint
from llama_swap.relay.pool import Pool

CONNECT_TIMEOUT = 30
NO_TIMEOUT = 86400
"""Seconds; in place of no timeout, since every system gives up long before."""
DEFAULT_PORTS = {"http": 80, "https": 443}


@implementer(IStreamClientEndpoint)
@define
class _Remote:
    """Connects to another machine, with TCP keepalive after `keepalive` seconds of silence; 0: the default."""

    _endpoint: IStreamClientEndpoint
    _keepalive: float

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""

        def made(protocol: Any) -> IProtocol:
            ask_when_silent(protocol.transport.getHandle(), self._keepalive)
            return protocol

        return self._endpoint.connect(factory).addCallback(made)


@frozen
class Dialer:
    """Gives endpoints for the addresses of upstreams."""

    _reactor: Any

    def endpoint(self, url: str, timeout: float = CONNECT_TIMEOUT, keepalive: float = SILENCE) -> IStreamClientEndpoint:
        """Return the endpoint of an http or https URL, whose path does not matter.

        `timeout` is in seconds, 0 for none.  `keepalive` applies to other machines: seconds of silence before TCP asks
        whether they are still there.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = self._plain(host, parts.port or DEFAULT_PORTS[parts.scheme], timeout or NO_TIMEOUT, keepalive)
        if parts.scheme != "https":
            return plain
        from twisted.internet.ssl import optionsForClientTLS

        return wrapClientTLS(optionsForClientTLS(host), plain)

    def pool(self, url: str, connect_timeout: float = CONNECT_TIMEOUT, keepalive: float = SILENCE) -> Pool:
        """Return a new pool of connections to the host and port of `url`."""
        endpoint = self.endpoint(url, connect_timeout, keepalive)
        return Pool(endpoint, self._reactor, dear=urlsplit(url).scheme == "https")

    def _plain(self, host: str, port: int, timeout: float, keepalive: float) -> IStreamClientEndpoint:
        if host == "localhost":
            return self._local(("127.0.0.1", "::1"), port, timeout)
        if is_loopback_address(host):
            return self._local((host,), port, timeout)
        if isIPAddress(host):
            return _Remote(TCP4ClientEndpoint(self._reactor, host, port, timeout), keepalive)
        if isIPv6Address(host):
            return _Remote(TCP6ClientEndpoint(self._reactor, host, port, timeout), keepalive)
        return _Remote(HostnameEndpoint(self._reactor, host, port, timeout), keepalive)

    def _local(self, hosts: Sequence[str], port: int, timeout: float) -> LoopbackEndpoint:
        peers = [(IPv6Address if isIPv6Address(host) else IPv4Address)("TCP", host, port) for host in hosts]
        return LoopbackEndpoint(self._reactor, peers, timeout)


def cannot_connect(failure: Failure) -> UpstreamError:
    """Return the error for a connection that could not be made, in fewer words than Twisted's."""
    match failure.value:
        case Refused():
            return NobodyListens("nobody listens there (connection refused)")
        case TimedOut():
            why = "it did not respond in time"
        case DNSLookupError():
            why = "there is no host of that name, as far as this machine can tell"
        case ConnectError(osError=int(number)):
            why = os.strerror(number)
        case error:
            why = str(error)
    return UpstreamError(f"cannot connect: {why}")


def speaks_no_tls(failure: Failure) -> UpstreamError | None:
    """Return the error for a connection that ended in the TLS handshake; None if TLS was not the reason."""
    if failure.check(ConnectionClosed):
        return None
    from service_identity import VerificationError

    match failure.value:
        case VerificationError():
            why = "its certificate is for another name"
        case Exception(args=([*_, (_, _, str(last))],)):  # of OpenSSL
            why = last
        case error:
            why = str(error)
    return UpstreamError(f"TLS cannot be spoken with it: {why}")
