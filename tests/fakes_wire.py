"""Connections in memory, without sockets, reactor and waiting: a client of the proxy, and an upstream."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from attrs import define, field, frozen
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionAborted, ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.http.headers import AnswerHead, OutboundFields, OutboundRequest
from llama_swap.relay.pool import Pool
from llama_swap.server.site import SwapSite

CLIENT = IPv4Address("TCP", "192.0.2.7", 50000)
PROXY = IPv4Address("TCP", "127.0.0.1", 8080)


@implementer(ITCPTransport, IPushProducer, IConsumer)
class Wire:
    """Our end of a TCP connection.

    As with a real one, a protocol that closes it is told so later: when the test lets it `settle`.
    """

    def __init__(self, protocol: IProtocol, peer: IAddress = CLIENT, host: IAddress = PROXY) -> None:
        self.written = b""
        self.paused = False
        self.full = False
        self.disconnecting = False
        self.aborted = False
        self.write_closed = False
        self.gone = False
        self.bufferSize = FileDescriptor.bufferSize  # Twisted's name
        self.producer: Any = None
        self._tempDataBuffer: list[bytes] = []
        self._pulls = False
        self._protocol = protocol
        self._peer = peer
        self._host = host
        protocol.makeConnection(self)

    def deliver(self, data: bytes) -> None:
        """Let the other end's bytes arrive, in one packet."""
        assert not self.gone, "the connection is gone"
        if not self.aborted:
            self._protocol.dataReceived(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken, self.written = self.written, b""
        return taken

    def fill(self) -> None:
        """The other end does not read: the buffer is full."""
        self.full = True
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The other end reads again."""
        self.full = False
        self.producer.resumeProducing()

    @property
    def dataBuffer(self) -> bytes:
        """What the other end has not read, as far as anybody cares."""
        return b"x" if self.full else b""

    def lose(self, reason: Exception | None = None) -> None:
        """The connection is gone; cleanly, unless there is another reason."""
        if not self.gone:
            self.gone = True
            if self.producer is not None:
                self.producer.stopProducing()
            self._protocol.connectionLost(Failure(reason or ConnectionDone()))

    def settle(self) -> None:
        """Carry out what the protocol asked for."""
        if self.aborted:
            self.lose(ConnectionAborted())
        elif self.disconnecting:
            self.lose()

    # -- as twisted sees it -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not (self.gone or self.disconnecting or self.write_closed):
            self.written += data
            if self.full and self.producer is not None and not self._pulls:
                self.producer.pauseProducing()

    def writeSequence(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True

    def loseWriteConnection(self) -> None:
        self.write_closed = True

    def abortConnection(self) -> None:
        self.disconnecting = self.aborted = True

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self.producer = producer
        self._pulls = not streaming
        if self._pulls:
            self.pull()

    def pull(self) -> None:
        """Take what a pull producer has, for as long as the other end reads."""
        while self.producer is not None and not self.full:
            self.producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getHandle(self) -> None:
        """There is no socket."""


@implementer(IStreamClientEndpoint)
class Upstream:
    """An endpoint whose connections a test accepts, refuses, or leaves pending."""

    def __init__(self) -> None:
        self.attempts: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []
        self.cancelled = 0
        self.clock = Clock()

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""

        def cancel(connecting: Deferred[IProtocol]) -> None:
            self.cancelled += 1
            connecting.errback(ConnectingCancelledError(PROXY))

        connecting: Deferred[IProtocol] = Deferred(cancel)
        self.attempts.append((factory, connecting))
        return connecting

    def accept(self) -> Wire:
        """Accept the oldest pending attempt; return the proxy's end of the connection."""
        factory, connecting = self.attempts.pop(0)
        protocol = factory.buildProtocol(PROXY)
        assert protocol is not None
        wire = Wire(protocol)
        connecting.callback(protocol)
        return wire

    def pool(self, url: str = "") -> Pool:
        """Return a pool of connections to this upstream."""
        return Pool(self, self.clock)

    def refuse(self) -> None:
        """Refuse the oldest pending attempt."""
        self.attempts.pop(0)[1].errback(Refused())


class Client:
    """A client of a site, at the other end of a wire."""

    def __init__(self, site: SwapSite, address: IAddress = CLIENT, host: IAddress = PROXY) -> None:
        protocol = site.buildProtocol(address)
        assert protocol is not None
        self.wire = Wire(protocol, address, host)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.wire.deliver(data)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        version: str = "HTTP/1.1",
    ) -> None:
        """Send a request, with a Content-Length if it has a body."""
        fields = {"Host": "proxy.test", **(headers or {})}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    def leave(self) -> None:
        """Go away."""
        self.wire.lose()

    def answer(self, method: str = "GET") -> Answer:
        """Take what came as one whole answer."""
        return read_answer(self.wire.take(), method)

    def error(self) -> tuple[int, str]:
        """Take what came as an error; return its status and its message."""
        answer = self.answer()
        return answer.status, json.loads(answer.body)["error"]["message"]


@frozen
class Answer:
    """A whole answer, as a client understands it."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return the value of a field, or None."""
        return dict(self.fields).get(name)


def read_answer(data: bytes, method: str = "GET") -> Answer:
    """Parse an answer to `method`; raises what `http.client` does if it is not whole."""

    class Socket:
        def makefile(self, mode: str) -> BytesIO:
            return BytesIO(data)

    response = http.client.HTTPResponse(Socket(), method=method)
    response.begin()
    return Answer(response.status, response.reason, response.getheaders(), response.read())


@define
class Sink:
    """An `AnswerSink` and `AnswerReceiver` that notes the calls; bodies joined, so that packets do not matter."""

    calls: list[tuple[str, Any]] = field(factory=list)
    producer: Any = None

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        self.producer = producer
        self.head(head)

    def head(self, head: AnswerHead) -> None:
        self.calls.append(("head", head))

    def data(self, data: bytes) -> None:
        if self.calls[-1][0] == "data":
            data = self.calls.pop()[1] + data
        self.calls.append(("data", data))

    def flush(self) -> None:
        pass

    def end(self) -> None:
        self.calls.append(("end", None))

    def broken(self, error: Exception) -> None:
        self.calls.append(("broken", str(error)))

    @property
    def names(self) -> list[str]:
        """What was called, in order."""
        return [name for name, _ in self.calls]

    @property
    def body(self) -> bytes:
        """What was passed on."""
        return b"".join(value for name, value in self.calls if name == "data")


def request_to(target: bytes = b"/", **changes: Any) -> OutboundRequest:
    """Return a GET for an upstream."""
    values: dict[str, Any] = {"method": b"GET", "host": b"h", "fields": (), "client": None, "body": None, **changes}
    return OutboundRequest(target=target, **{**values, "fields": OutboundFields(values["fields"])})
