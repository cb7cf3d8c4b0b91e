"""Certificates that are made for a test, and clients that trust them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@frozen
class Files:
    """A certificate for 127.0.0.1 with its issuer behind it, its key, and the authority that clients know."""

    certificate: str
    key: str
    authority: str

    def trusting(self) -> ssl.SSLContext:
        """Return the context of a client that trusts the authority."""
        return ssl.create_default_context(cafile=self.authority)


def make_certificates(directory: Path, key: Key | None = None) -> Files:
    """Make an authority, an issuer below it, and a certificate of that: only a whole chain is trusted.

    Files that are there already are written anew.
    """
    root_key, issuer_key = _new_key(), _new_key()
    key = key or _new_key()
    root = _certificate("root", root_key, "root", root_key, authority=True)
    issuer = _certificate("issuer", issuer_key, "root", root_key, authority=True)
    leaf = _certificate("127.0.0.1", key, "issuer", issuer_key, authority=False)
    files = Files(*(str(directory / name) for name in ("cert.pem", "key.pem", "root.pem")))
    Path(files.certificate).write_bytes(_pem(leaf) + _pem(issuer))
    Path(files.authority).write_bytes(_pem(root))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    Path(files.key).write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return files


def _new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(
    name: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not authority:
        addresses = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(name))])
        builder = builder.add_extension(addresses, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
