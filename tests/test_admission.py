"""Clients are let in as long as there are file descriptors for them."""

from __future__ import annotations

import os
import socket
from itertools import count
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from llama_swap import admission
from llama_swap.admission import BURST, EPISODE, KEPT, REST, admit_by_descriptors


class FakePort(Port):
    """Lets `lets_in` clients in each time, or none."""

    def __init__(self) -> None:
        self.connected = True
        self.disconnecting = False
        self.numberAccepts = 1000
        self.sessionno = 0
        self.reads = True
        self.lets_in = 1
        self.batches: list[int] = []
        self.transport = None

    def fileno(self) -> int:
        """Return an open descriptor."""
        return 0

    def doRead(self) -> None:
        """Let clients in."""
        self.batches.append(self.numberAccepts)
        self.sessionno += self.lets_in

    def stopReading(self) -> None:
        """Do not want to hear of clients."""
        self.reads = False

    def startReading(self) -> None:
        """Want to."""
        self.reads = True


class AdmissionTests(SynchronousTestCase):
    """With a port that is none."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port: Any = FakePort()
        self.allowed = 100_000
        self.patch(admission, "getrlimit", lambda _: (self.allowed, -1))
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)
        self.assertIs(admit_by_descriptors(self.port, self.clock), self.port)

    def note(self, event: dict[str, Any]) -> None:
        """Keep a line of the log."""
        self.lines.append(formatEvent(event))

    def lowest(self) -> int:
        """Return the lowest number that a descriptor can have."""
        lowest = os.dup(0)
        os.close(lowest)
        return lowest

    def test_room(self) -> None:
        """With room for many, a burst of clients is let in at once, else about half as many as there is room for."""
        lowest = self.lowest()
        few = next(few for few in count(lowest) if few - min(KEPT, few // 8) - lowest == BURST)
        for allowed, batch in ((100_000, BURST), (-1, BURST), (few, 1 + BURST // 2)):
            self.allowed = allowed
            self.port.doRead()
            self.assertEqual(self.port.batches.pop(), batch)
        self.assertEqual((self.clock.getDelayedCalls(), self.lines), ([], []))

    def test_no_room(self) -> None:
        """Nobody is let in, and nobody looks again for a moment, then one client at a time.  The log has one line."""
        for _ in range(3):
            self.allowed = self.lowest() + 1
            for _ in range(10):
                self.port.doRead()
                self.assertFalse(self.port.reads)
                self.clock.advance(REST)
                self.assertTrue(self.port.reads)
            self.allowed = 100_000
            self.port.doRead()
        self.assertEqual((self.port.batches, len(self.lines)), ([1, 1, 1], 1))
        self.assertIn("clients have to wait, since no file descriptors are left for them: ", self.lines[0])
        self.clock.advance(EPISODE + 1)
        self.allowed = 5
        self.port.doRead()
        self.assertEqual(len(self.lines), 2)
        self.assertIn("5 are allowed (ulimit -n)", self.lines[1])
        self.clock.advance(REST)

    def test_not_even_one(self) -> None:
        """Also where no descriptor at all can be had."""

        def dup(_: int) -> int:
            raise OSError

        self.patch(admission.os, "dup", dup)
        self.port.doRead()
        self.assertEqual((self.port.reads, self.port.batches), (False, []))
        self.clock.advance(REST)

    def test_trouble(self) -> None:
        """If nobody comes in for whatever reason, the system is not asked again at once."""
        self.port.lets_in = 0
        self.port.doRead()
        self.assertEqual((self.port.reads, len(self.port.batches)), (False, 1))
        self.clock.advance(REST)
        self.assertTrue(self.port.reads)

    def test_end(self) -> None:
        """A port that is closed meanwhile stays closed."""
        self.allowed = 5
        for ended in ({"disconnecting": True}, {"connected": False}):
            self.port.doRead()
            vars(self.port).update(ended)
            self.clock.advance(REST)
            self.assertFalse(self.port.reads)
            self.port.disconnecting = False


class Told(Protocol):
    """Tells of its connection."""

    def connectionMade(self) -> None:
        """It has come."""
        self.factory.made.callback(self)  # type: ignore[union-attr]


class TransportTests(TestCase):
    """What those have who were let in, on real sockets."""

    async def test_no_delay(self) -> None:
        """Small writes to them are not held back, also if they had come before the port was ours."""
        for queued in (False, True):
            factory = Factory.forProtocol(Told)
            factory.made = Deferred()  # type: ignore[attr-defined]
            listener = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(listener.close)
            listener.setblocking(False)
            address = listener.getsockname()
            if queued:
                early = socket.create_connection(address)
                self.addCleanup(early.close)
            port = reactor.adoptStreamPort(listener.fileno(), socket.AF_INET, factory)  # type: ignore[attr-defined]
            admit_by_descriptors(port, reactor, queued=queued)  # type: ignore[arg-type]
            if not queued:
                late = socket.create_connection(address)
                self.addCleanup(late.close)
            transport = (await factory.made).transport  # type: ignore[attr-defined]
            self.assertTrue(transport.getTcpNoDelay())
            transport.abortConnection()
            await port.stopListening()
