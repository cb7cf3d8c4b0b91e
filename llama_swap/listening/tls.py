"""A certificate that can be renewed while the proxy listens, whether options or an endpoint string name it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IOpenSSLContextFactory, IProtocolFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from llama_swap.listening.address import Address

if TYPE_CHECKING:
    from OpenSSL import SSL


@define
class _Read:
    """Poses as the reactor, to get from an endpoint the certificate with which it would listen."""

    context: SSL.Context | None = None

    def listenSSL(self, port: int, factory: object, contextFactory: Any, **_: object) -> None:  # noqa: N802, N803
        """See `IReactorSSL.listenSSL`."""
        self.context = contextFactory.getContext()


@implementer(IOpenSSLContextFactory)
@define(eq=False)
class RenewableListening:
    """Listens at an address; with TLS, each new connection gets the latest certificate.

    To the endpoint it is the reactor; to the reactor it is the context factory.
    """

    address: Address
    _reactor: Any
    context: SSL.Context | None = field(default=None, init=False)
    """The certificate; None without TLS."""

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; see `IStreamServerEndpoint.listen`."""
        reactor = self if self.address.is_secure else self._reactor
        return self.address.endpoint(reactor).listen(factory)

    def listenSSL(self, port: int, factory: object, contextFactory: Any, **more: Any) -> Any:  # noqa: N802, N803
        """See `IReactorSSL.listenSSL`: here, it is the endpoint who calls."""
        self.context = contextFactory.getContext()
        return self._reactor.listenSSL(port, factory, self, **more)

    def getContext(self) -> Any:  # noqa: N802
        """Return the certificate for a connection; see `IOpenSSLContextFactory`."""
        return self.context

    def read(self) -> SSL.Context | None:
        """Return the certificate as it is in its files now; None without TLS.  This may block.

        @raise CannotListen: it cannot be used.
        """
        if not self.address.is_secure:
            return None
        read = _Read()
        self.address.endpoint(read).listen(Factory())
        return read.context
