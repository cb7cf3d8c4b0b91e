"""Transports of connections that exist already, on real sockets."""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.net.established import Established

DESCRIPTIONS = {"logstr", "repstr"}
"""What Twisted's transport has beside; both are texts about it."""


class Port:
    """What a transport asks the port that let it in."""

    _realPortNumber = 8080  # noqa: N815  # Twisted's name


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


class EstablishedTests(SynchronousTestCase):
    """One end of a connection; the other belongs to the test."""

    def make(self, kind: type[Server], client: tuple[Any, ...], *, blocks: bool = True) -> Server:
        """Return a transport of a new connection."""
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        ours.setblocking(blocks)
        transport = kind(ours, Protocol(), client, Port(), 3, reactor)  # type: ignore[arg-type]
        self.addCleanup(ours.close)
        self.addCleanup(transport.stopReading)
        return transport

    def test_like_twisted(self) -> None:
        """It has whatever Twisted's transport has, and is read from."""
        for client in (("127.0.0.1", 1), ("::1", 1, 0, 0)):
            theirs, ours = (vars(self.make(kind, client)) for kind in (Server, Established))
            self.assertEqual(ours.keys(), theirs.keys() - DESCRIPTIONS)
            same = ours.keys() - {"socket", "fileno", "protocol", "server"}
            self.assertEqual({name: ours[name] for name in same}, {name: theirs[name] for name in same})
            self.assertIn(ours["fileno"](), [reader.fileno() for reader in reactor.getReaders()])  # type: ignore[attr-defined]

    def test_does_not_block(self) -> None:
        """Neither a socket that did, nor one that did not."""
        for blocks in (True, False):
            transport = self.make(Established, ("127.0.0.1", 1), blocks=blocks)
            self.assertEqual(transport.getHandle().gettimeout(), 0)

    def test_reads(self) -> None:
        """What comes is passed on; that nothing has come yet is no end; an end is told apart from a break."""
        for kind in (Server, Established):
            transport = self.make(kind, ("127.0.0.1", 1))
            received: list[bytes] = []
            self.patch(transport.protocol, "dataReceived", received.append)
            self.assertIsNone(transport.doRead())
            self.theirs.sendall(b"hi")
            self.assertIsNone(transport.doRead())
            self.assertEqual(received, [b"hi"])
            self.theirs.close()
            self.assertIs(transport.doRead(), CONNECTION_DONE)
            broken, self.theirs = tcp_pair()
            self.addCleanup(broken.close)
            transport.socket = broken
            self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.theirs.close()
            self.assertIs(transport.doRead(), CONNECTION_LOST)
            self.assertEqual(received, [b"hi"])

    def test_reset(self) -> None:
        """It is gone at once, and the other end sees it; the protocol hears nothing, nor does an event that is late."""
        ours, theirs = tcp_pair()
        self.addCleanup(theirs.close)
        protocol = Protocol()
        transport = Established(ours, cast(Any, protocol), ("127.0.0.1", 1), Port(), 1, reactor)
        heard: list[object] = []
        for name in ("dataReceived", "connectionLost"):
            self.patch(protocol, name, heard.append)
        theirs.sendall(b"too late")
        transport.reset()
        self.assertRaises(ConnectionResetError, theirs.recv, 1)
        self.assertEqual(ours.fileno(), -1)
        self.assertNotIn(transport, reactor.getReaders())  # type: ignore[attr-defined]
        self.assertEqual((transport.connected, transport.disconnected), (0, 1))
        self.assertEqual((transport.doRead(), transport.doWrite()), (None, None))
        transport.abortConnection()
        transport.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(heard, [])

    def test_peer(self) -> None:
        """The other end is known by its address."""
        self.assertEqual(self.make(Established, ("127.0.0.1", 1)).getPeer(), IPv4Address("TCP", "127.0.0.1", 1))
        self.assertEqual(self.make(Established, ("::1", 1, 0, 0)).getPeer(), IPv6Address("TCP", "::1", 1, 0, 0))

    def test_description(self) -> None:
        """It can be told from others in a log, also when it is gone."""
        transport = self.make(Established, ("127.0.0.1", 1))
        self.assertEqual(repr(transport), "<connection to 127.0.0.1>")
        transport.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(repr(transport), "<connection to 127.0.0.1>")
