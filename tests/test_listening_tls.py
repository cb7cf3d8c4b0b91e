"""Listening with a certificate that can be renewed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import CannotListen
from llama_swap.listening.address import Address
from llama_swap.listening.certificate import Certificate
from llama_swap.listening.tls import RenewableListening
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
            self.assertIsNone(listening.context)
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
            listening.context = second
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


class CertificateTests(SynchronousTestCase):
    """`Certificate`, and where an address has one."""

    def setUp(self) -> None:
        """Make the certificates."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.files: Files = make_certificates(self.directory)

    def refusal(self, certificate: str, key: str) -> str:
        """Return why two files cannot be used, however they are named."""
        named = Address(f"ssl:1:certKey={certificate}:privateKey={key}")
        refused = str(self.assertRaises(CannotListen, named.endpoint, None))
        told = str(self.assertRaises(CannotListen, Certificate(certificate, key).options))
        self.assertEqual(refused, f"cannot listen on {named.text!r}: {told}")
        return told

    def test_unusable(self) -> None:
        """The file that is wrong is named in a sentence of ours; nobody is asked for a password."""
        right, key = self.files.certificate, self.files.key
        other = self.directory / "other"
        other.mkdir()
        others = make_certificates(other)
        locked = self.directory / "locked.pem"
        private = load_pem_private_key(Path(key).read_bytes(), None)
        locked.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        for certificate, private_key, told in (
            (key, key, f"{key} is not a certificate, in PEM"),
            (right, right, f"{right} is not a private key without a password, in PEM"),
            (right, str(locked), f"{locked} is not a private key without a password, in PEM"),
            (right, others.key, f"{others.key} is not the key of the certificate in {right}"),
            (right, "/no/key.pem", "/no/key.pem cannot be read: No such file or directory"),
        ):
            self.assertEqual(self.refusal(certificate, private_key), told)

    def test_weak(self) -> None:
        """What OpenSSL itself will not use is told in its words."""
        files = make_certificates(self.directory, key=rsa.generate_private_key(65537, 1024))
        self.assertEqual(
            self.refusal(files.certificate, files.key), f"{files.certificate} cannot be used: ee key too small"
        )

    def test_files(self) -> None:
        """The files behind an address are known, with the names that Twisted fills in."""
        for address, files in (
            (Address("127.0.0.1:1"), ()),
            (Address("127.0.0.1:1", Certificate("a", "b")), ("a", "b")),
            (Address("ssl:1"), ("server.pem", "server.pem")),
            (Address("ssl:1:privateKey=/a/b.pem"), ("/a/b.pem", "/a/b.pem")),
            (Address("ssl:1:privateKey=k:interface=::1:certKey=a\\:b.pem"), ("a:b.pem", "k")),
        ):
            self.assertEqual(address.files, files)
