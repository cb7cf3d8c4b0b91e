"""Sending in the same turn, with what Twisted's transports really have."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.relay.sending import PIECES, Upload, has_sent_all, send_now


class SendNowTests(SynchronousTestCase):
    """A TCP transport of Twisted, and a socket at its other end."""

    def setUp(self) -> None:
        """Connect both."""
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        protocol = Protocol()
        self.transport: Any = Server(ours, protocol, ("", 0), None, 0, reactor)  # type: ignore[arg-type]
        protocol.makeConnection(self.transport)
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        self.addCleanup(self.transport.stopReading)
        self.addCleanup(self.transport.stopWriting)

    def test_at_once(self) -> None:
        """What is sent can be read without a turn of the reactor."""
        send_now(self.transport, b"event")
        self.assertEqual(self.theirs.recv(100), b"event")
        self.assertTrue(has_sent_all(self.transport))

    def test_behind_what_waits(self) -> None:
        """What was written before goes first."""
        self.transport.write(b"first ")
        send_now(self.transport, b"second")
        self.assertFalse(has_sent_all(self.transport))
        self.assertRaises(BlockingIOError, self.theirs.recv, 100)
        self.transport.doWrite()
        self.assertEqual(self.theirs.recv(100), b"first second")
        self.assertTrue(has_sent_all(self.transport))

    def test_more_than_fits(self) -> None:
        """What the socket does not take is queued, in order, and pauses the producer."""
        paused: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                paused.append("paused")

        self.transport.producer, self.transport.streamingProducer = Producer(), True
        data = bytes(range(256)) * 1024
        send_now(self.transport, data)
        self.assertFalse(has_sent_all(self.transport))
        self.assertEqual(paused, ["paused"])
        self.transport.producer = None
        received = b""
        while len(received) < len(data):
            received += self.theirs.recv(1 << 20)
            self.transport.doWrite()
        self.assertEqual(received, data)

    def test_to_nobody(self) -> None:
        """A connection that the other end has closed raises nothing here; Twisted will tell its protocol."""
        self.theirs.close()
        send_now(self.transport, b"event")
        self.assertIs(self.transport.doWrite(), CONNECTION_LOST)

    def test_other_transports(self) -> None:
        """Whatever is not a plain TCP connection is written to as usual."""
        transport = StringTransport()
        send_now(transport, b"event")
        self.assertEqual(transport.value(), b"event")

    def test_upload(self) -> None:
        """Pieces that fit are sent in a row, so many a turn, and the next turn goes on; the end is noticed."""
        pieces = [b"%d" % number for number in range(PIECES + 3)]
        upload = Upload(self.transport, iter(pieces))
        self.assertEqual(self.theirs.recv(100), b"".join(pieces[:PIECES]))
        self.assertFalse(has_sent_all(self.transport))
        while not upload.complete:
            self.transport.doWrite()
        self.assertEqual(self.theirs.recv(100), b"".join(pieces[PIECES:]))
        self.assertIsNone(self.transport.producer)

    def test_upload_to_a_slow_reader(self) -> None:
        """What the socket does not take is all that waits."""
        pieces = iter([bytes(1 << 16)] * 20)
        Upload(self.transport, pieces)
        self.assertFalse(has_sent_all(self.transport))
        self.assertEqual(len(list(pieces)), 19)
