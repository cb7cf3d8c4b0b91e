"""The proxy's certificate, from its files to Twisted's options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from llama_swap.errors import CannotListen

if TYPE_CHECKING:
    from twisted.internet.ssl import CertificateOptions

T = TypeVar("T")


@frozen
class Certificate:
    """Two PEM files: the certificate with the chain to its authority, and its key."""

    certificate: str
    key: str

    def options(self) -> CertificateOptions:
        """Return both as Twisted's options.

        @raise CannotListen: they cannot be read, or do not belong together.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificates
        from OpenSSL import SSL, crypto
        from twisted.internet.ssl import CertificateOptions

        leaf, *issuers = _loaded(self.certificate, load_pem_x509_certificates, "a certificate")
        key: Any = _loaded(self.key, partial(load_pem_private_key, password=None), "a private key without a password")
        if leaf.public_key() != key.public_key():
            raise CannotListen(f"{self.key} is not the key of the certificate in {self.certificate}")
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=crypto.X509.from_cryptography(leaf),
            extraCertChain=[crypto.X509.from_cryptography(issuer) for issuer in issuers],
        )
        try:
            options.getContext()
        except SSL.Error as error:
            raise CannotListen(f"{self.certificate} cannot be used: {_reason(error)}") from None
        return options


def _loaded(path: str, load: Callable[[bytes], T], wanted: str) -> T:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(Path(path).read_bytes())
    except OSError as error:
        raise CannotListen(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # which speak of ASN.1
        raise CannotListen(f"{path} is not {wanted}, in PEM") from None


def _reason(error: Exception) -> str:
    """Return the reason in plain text; OpenSSL's errors are lists of places in its code."""
    match error.args:
        case [[(_, _, str(first)), *_]]:
            return first
        case _:
            return str(error)
