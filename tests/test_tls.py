"""Listening with a certificate that can be renewed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import CannotListen
from llama_swap.listen import Address, Certificate
from llama_swap.tls import RenewableListening
from tests.support_tls import Files, make_certificates


class RenewalTests(SynchronousTestCase):
    """`RenewableListening`."""

    def setUp(self) -> None:
        """Make the certificates."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.files: Files = make_certificates(Path(directory.name))
        self.reactor = MemoryReactor()

    def test_without_tls(self) -> None:
        """There is nothing to renew."""
        for text in ("127.0.0.1:1", "tcp:1"):
            listening = RenewableListening(Address(text), self.reactor)
            self.successResultOf(listening.listen(Factory()))
            self.assertIsNone(listening.read())
            listening.renew(None)
        self.assertEqual((len(self.reactor.tcpServers), self.reactor.sslServers), (2, []))

    def test_renewal(self) -> None:
        """However the certificate is named, connections get the one that was renewed last."""
        flags = Address("127.0.0.1:1", Certificate(self.files.certificate, self.files.key))
        named = f"certKey={self.files.certificate}:privateKey={self.files.key}"
        for address in (flags, Address(f"ssl:1:interface=127.0.0.1:backlog=7:{named}")):
            self.reactor.sslServers.clear()
            listening, factory = RenewableListening(address, self.reactor), Factory()
            self.successResultOf(listening.listen(factory))
            [(port, listens_for, contexts, _, interface)] = self.reactor.sslServers
            self.assertEqual((port, listens_for, interface), (1, factory, "127.0.0.1"))
            first = contexts.getContext()
            second = listening.read()
            self.assertIs(contexts.getContext(), first)
            listening.renew(second)
            self.assertIs(contexts.getContext(), second)
            self.assertIsNot(first, second)

    def test_unusable(self) -> None:
        """What cannot be read is an error that says what it is about; nothing is renewed."""
        certificate, key = Path(self.files.certificate), Path(self.files.key)
        named = Address(f"ssl:1:certKey={certificate}:privateKey={key}")
        flags = Address("127.0.0.1:1", Certificate(str(certificate), str(key)))
        for content in ("no certificate", None):
            certificate.unlink() if content is None else certificate.write_text(content)
            for address, what in ((named, "cannot listen on 'ssl:1:certKey"), (flags, str(certificate))):
                error = self.assertRaises(CannotListen, RenewableListening(address, self.reactor).read)
                self.assertIn(what, str(error))
