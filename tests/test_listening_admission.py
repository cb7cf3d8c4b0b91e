"""Clients are let in as long as there are file descriptors for them."""

from __future__ import annotations

import errno
import os
import socket
from itertools import count
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from llama_swap.listening import admission
from llama_swap.listening.admission import BURST, EPISODE, KEPT, REST, admit_by_descriptors


class Listener:
    """A listening socket, with clients who come in a pair, as long as there are any."""

    family, type, proto = socket.AF_UNIX, socket.SOCK_STREAM, 0

    def __init__(self) -> None:
        self.waiting = 1000
        self.error: Exception = BlockingIOError()

    def _accept(self) -> tuple[int, str]:
        if not self.waiting:
            raise self.error
        self.waiting -= 1
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours.detach(), ""


class FakePort(Port):
    """Hears of clients, and makes nothing of them."""

    def __init__(self) -> None:
        self.connected = True
        self.disconnecting = False
        self.sessionno = 0
        self.reads = True
        self.socket = Listener()
        self.factory = Factory.forProtocol(Protocol)
        self.reactor = None
        self.transport = self.forget

    def fileno(self) -> int:
        """Return an open descriptor."""
        return 0

    def forget(self, sock: socket.socket, *_: object) -> object:
        """Be a transport that nothing is to come of."""
        sock.close()
        return object()

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

    def let_in(self) -> int:
        """Have the port told of clients; return how many it has taken."""
        before = self.port.socket.waiting
        self.port.doRead()
        return int(before - self.port.socket.waiting)

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
            self.assertEqual(self.let_in(), batch)
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
            self.assertEqual(self.let_in(), 1)
        self.assertEqual(len(self.lines), 1)
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
        self.assertEqual((self.let_in(), self.port.reads), (0, False))
        self.clock.advance(REST)

    def test_trouble(self) -> None:
        """If one cannot be had, for whatever reason, the system is not asked again at once."""
        for error in (OSError(errno.ENFILE, ""), MemoryError()):
            self.port.socket.waiting = 2
            self.port.socket.error = error
            self.assertEqual((self.let_in(), self.port.reads), (2, False))
            self.clock.advance(EPISODE + 1)
            self.assertTrue(self.port.reads)

    def test_nobody(self) -> None:
        """That there are no more, or that one has left in between, is no trouble."""
        for error in (BlockingIOError(), ConnectionAbortedError()):
            self.port.socket.waiting = 2
            self.port.socket.error = error
            self.assertEqual((self.let_in(), self.let_in(), self.port.reads, self.lines), (2, 0, True, []))

    def test_defect(self) -> None:
        """What goes wrong with one does not keep the others out."""
        open_before = len(list(Path("/proc/self/fd").iterdir()))

        def fail(*_: object) -> object:
            raise OSError(errno.ENOSPC, "no room in epoll")

        self.port.transport = fail
        self.port.socket.waiting = 3
        self.assertEqual((self.let_in(), self.port.reads, len(self.flushLoggedErrors(OSError))), (3, True, 3))
        self.assertEqual(len(list(Path("/proc/self/fd").iterdir())), open_before)

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

    async def test_named_client(self) -> None:
        """A client of a UNIX socket may have a name of its own, however long: it is no address of IPv6."""
        for number, name in enumerate(("four", "fives")):
            factory = Factory.forProtocol(Told)
            factory.made = Deferred()  # type: ignore[attr-defined]
            path = f"admission-{number}"
            port = reactor.listenUNIX(path, factory)  # type: ignore[attr-defined]
            admit_by_descriptors(port, reactor)  # type: ignore[arg-type]
            with socket.socket(socket.AF_UNIX) as client:
                client.bind(name)
                self.addCleanup(Path(name).unlink)
                client.connect(path)
                transport = (await factory.made).transport  # type: ignore[attr-defined]
            transport.abortConnection()
            await port.stopListening()
