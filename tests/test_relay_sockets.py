"""What a relay with real sockets shows, and one in memory does not: full buffers, resets, and who notices them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from llama_swap.relay.endpoints import Dialer
from tests.fakes_web import site_of
from tests.support_client import CUT, Stream, send
from tests.support_relay import OK, STREAM, Root

PART = b"x" * 65536
ENDLESS = 128 * 1024 * 1024
"""Bytes that no chain of socket buffers holds."""


@implementer(IPullProducer)
class Upstream(Protocol):
    """Answers each request as the test says; `gone` fires when the connection is."""

    transport: Any

    def __init__(self, answer: Callable[[Upstream], None]) -> None:
        self.answer = answer
        self.sent = 0
        self.asked: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """A request, as these are short."""
        self.answer(self)
        self.asked.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The proxy left."""
        self.gone.callback(None)

    def flood(self) -> None:
        """Send as much as the proxy takes."""
        self.transport.write(OK + b"Content-Length: %d\r\n\r\n" % ENDLESS)
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """There is room for more."""
        if self.sent < ENDLESS:
            self.sent += len(PART)
            self.transport.write(PART)
        else:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is gone."""


class SocketTests(TestCase):
    """Client, proxy and upstream on the loopback interface."""

    timeout = 60

    def listen(self, factory: Factory) -> int:
        """Listen until the test ends; return the port."""
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def start(self, answer: Callable[[Upstream], None]) -> None:
        """Start an upstream that answers so, and a proxy before it."""
        self.upstream = Upstream(answer)
        self.root = Root()
        address = self.listen(Factory.forProtocol(lambda: self.upstream))
        self.root.pool = Dialer(reactor).pool(f"http://127.0.0.1:{address}")
        site = site_of(self.root, reactor)
        self.patch(site, "give_memory_back", lambda: None)  # it takes its time
        self.port = self.listen(site)

    @inlineCallbacks
    def test_client_that_does_not_read(self) -> Any:
        """The upstream is held up, with what fits into buffers; when the client leaves, the upstream is left, too."""
        self.start(Upstream.flood)

        client = yield deferToThread(self.small_client)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        yield self.upstream.asked
        while not self.is_held_up():
            yield deferLater(reactor, 0.001)
        client.close()
        yield self.upstream.gone
        self.assertLess(self.upstream.sent, ENDLESS / 2)
        self.assertEqual(self.root.over, 1)

    def small_client(self) -> socket.socket:
        """Connect to the proxy, with little room for what is not read."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", self.port))
        return client

    def is_held_up(self) -> bool:
        """Whether the upstream has more to send, and the relay does not read it."""
        loop: Any = reactor
        sender = self.upstream.transport
        readers = {reader.getHost() for reader in loop.getReaders() if isinstance(reader, Connection)}
        return sender in loop.getWriters() and sender.getPeer() not in readers

    @inlineCallbacks
    def test_client_that_leaves(self) -> Any:
        """A client that leaves before any answer, or in the midst of one, is noticed by the upstream at once."""
        for before in (b"", STREAM, STREAM + b"2\r\nab\r\n"):
            self.start(lambda upstream, before=before: upstream.transport.write(before))
            client = yield deferToThread(socket.create_connection, ("127.0.0.1", self.port), 10)
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            yield self.upstream.asked
            client.close()
            yield self.upstream.gone
            self.assertEqual(self.root.over, 1)

    @inlineCallbacks
    def test_upstream_that_breaks(self) -> Any:
        """What came before the break arrives, and then an answer that nobody can take for whole."""

        def read() -> list[bytes]:
            with Stream(*send(self.port, "GET", "/")) as stream:
                lines: list[bytes] = []
                with self.assertRaises(CUT):
                    lines.extend(line for _, line in stream.lines())
                return lines

        for answer in (STREAM + b"3\r\na\nb\r\n", OK + b"Content-Length: 9\r\n\r\na\nb"):

            def break_off(upstream: Upstream, answer: bytes = answer) -> None:
                upstream.transport.write(answer)
                upstream.transport.loseConnection()

            self.start(break_off)
            lines = yield deferToThread(read)
            self.assertEqual(lines, [b"a"])
            self.assertEqual(self.root.over, 1)

    @inlineCallbacks
    def test_upstream_that_breaks_before_an_old_client(self) -> Any:
        """HTTP/1.0 sees a reset: a closed connection would be the end."""

        def break_off(upstream: Upstream) -> None:
            upstream.transport.write(STREAM + b"2\r\nab\r\n")
            upstream.transport.loseConnection()

        def read() -> None:
            with socket.create_connection(("127.0.0.1", self.port), 10) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with self.assertRaises(ConnectionResetError):
                    while client.recv(4096):
                        pass

        self.start(break_off)
        yield deferToThread(read)
        self.assertEqual(self.root.over, 1)
