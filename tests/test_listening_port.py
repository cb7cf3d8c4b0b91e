"""Moving from one address to another, without a socket."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import CannotListen
from llama_swap.listening import port as listening_module
from llama_swap.listening.address import Address
from llama_swap.listening.port import Listening
from tests.support_tls import make_certificates


class MoveTests(SynchronousTestCase):
    """`Listening.follow`."""

    def setUp(self) -> None:
        """Listen on port 1."""
        self.patch(listening_module, "admit_by_descriptors", lambda port, clock, queued: port)  # which is no real one
        self.events: list[LogEvent] = []
        self.patch(Listening, "_log", Logger(observer=self.events.append))
        self.reactor = MemoryReactor()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.opened: list[IAddress] = []
        self.listening = Listening(Address("127.0.0.1:1"), self.reactor, self.opened.append)
        self.listening.start(Factory())

    def follow(self, text: str) -> None:
        """Have it follow a configuration that names another address."""
        self.listening.follow(self.listening.read(Address(text)))

    def refuse(self, *args: Any, **kwargs: Any) -> None:
        """See `IReactorTCP.listenTCP`: it fails."""
        raise CannotListenError("127.0.0.1", 80, OSError("Permission denied"))

    def said(self, level: LogLevel) -> str:
        """Return the only line, which has this level."""
        [event] = self.events
        self.assertEqual(event["log_level"], level)
        return event["log_format"].format(**event)

    def test_same(self) -> None:
        """The same address is no other."""
        self.follow("127.0.0.1:1")
        self.assertEqual((len(self.reactor.tcpServers), self.events, self.opened), (1, [], []))

    def test_moves(self) -> None:
        """The new port is open before the old one is closed; who comes is judged by the new one."""
        order: list[str] = []
        self.patch(self.listening._port, "stopListening", lambda: order.append(f"{len(self.reactor.tcpServers)} open"))
        self.follow("127.0.0.2:2")
        self.assertEqual((order, self.listening.address), (["2 open"], Address("127.0.0.2:2")))
        self.assertEqual(len(self.opened), 1)
        self.assertIn("listening on", self.said(LogLevel.info))

    def test_left_over(self) -> None:
        """Where the old address cannot be tidied up, as when the file of its socket is gone, both are told."""
        gone = FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.patch(self.listening._port, "stopListening", lambda: fail(gone))
        self.follow("127.0.0.2:2")
        self.assertEqual(self.listening.address, Address("127.0.0.2:2"))
        told = [event["log_format"].format(**event) for event in self.events]
        self.assertEqual(told[0], "left 127.0.0.1:1, but could not tidy up: No such file or directory")
        self.assertIn("listening on", told[1])

    def test_stays(self) -> None:
        """Where an address cannot be had, or is none, the old one stays, is judged again, and an error says so."""
        self.patch(self.reactor, "listenTCP", self.refuse)
        for text, reason in (("127.0.0.1:80", "Permission denied"), ("nonsense", "write HOST:PORT")):
            self.events.clear()
            self.follow(text)
            self.assertRegex(self.said(LogLevel.error), f"stays 127.0.0.1:1 until .*{reason}")
            self.assertEqual(self.listening.address, Address("127.0.0.1:1"))
        self.assertEqual(len(self.opened), 2)

    def test_reason(self) -> None:
        """What the system says is told as it says it, without the names of Twisted's lock files."""
        error = OSError(2, "No such file or directory", "1234", None, "/nowhere/x.sock.lock")
        self.patch(self.reactor, "listenUNIX", Mock(side_effect=error))
        with self.assertRaisesRegex(CannotListen, "unix:/nowhere/x.sock: No such file or directory$"):
            Listening(Address("unix:/nowhere/x.sock"), self.reactor, self.opened.append).start(Factory())

    def test_given(self) -> None:
        """Sockets of systemd come at the start only."""
        self.follow("systemd:domain=INET:name=http")
        self.assertIn("next start", self.said(LogLevel.warn))
        self.assertEqual(self.listening.address, Address("127.0.0.1:1"))

    def test_renewal(self) -> None:
        """A certificate that was renewed is shown also where it cannot move to what is named."""
        ours, named = (self.certificate(name) for name in ("ours", "other"))
        listening = Listening(Address(f"ssl:1:{ours}"), self.reactor, self.opened.append)
        listening.start(Factory())
        [(*_, contexts, _, _)] = self.reactor.sslServers
        self.patch(self.reactor, "listenSSL", self.refuse)
        self.patch(self.reactor, "listenTCP", self.refuse)
        for text in (f"ssl:1:{ours}", f"ssl:2:{ours}", f"ssl:2:{named}", ":1", "systemd:domain=INET:name=http"):
            before = contexts.getContext()
            listening.follow(listening.read(Address(text)))
            self.assertNotIn(contexts.getContext(), (before, None), text)
        self.assertEqual([event["log_level"] for event in self.events], [*[LogLevel.error] * 3, LogLevel.warn])

    def test_certificate_is_gone(self) -> None:
        """That of the address which is left is not needed any more; if it stays there, it shows the one it has."""
        ours = self.certificate("ours")
        listening = Listening(Address(f"ssl:1:{ours}"), self.reactor, self.opened.append)
        listening.start(Factory())
        [(*_, contexts, _, _)] = self.reactor.sslServers
        before = contexts.getContext()
        (self.directory / "ours" / "cert.pem").unlink()
        listening.follow(listening.read(Address("systemd:domain=INET:name=http")))
        self.assertIs(contexts.getContext(), before)
        listening.follow(listening.read(Address("127.0.0.1:2")))
        self.assertEqual(listening.address, Address("127.0.0.1:2"))

    def certificate(self, name: str) -> str:
        """Make a certificate, and return what names it in an address."""
        (self.directory / name).mkdir()
        files = make_certificates(self.directory / name)
        return f"certKey={files.certificate}:privateKey={files.key}"

    def test_stopping(self) -> None:
        """When the end has begun, no port is opened any more."""
        self.successResultOf(self.listening.stop())
        self.follow("127.0.0.1:2")
        self.assertEqual(len(self.reactor.tcpServers), 1)
