"""Where the proxy listens, and how it moves when a reload names another address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.errors import CannotListen
from llama_swap.listening.address import Address
from llama_swap.listening.admission import admit_by_descriptors
from llama_swap.listening.tls import RenewableListening


@frozen
class ListeningPlan:
    """Where to listen, and where that is done until then, which may be the same: each with its certificate of now."""

    there: RenewableListening
    here: RenewableListening


class Listening:
    """The port on which clients come, at one address after the other."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, address: Address, reactor: Any, opened: Callable[[IAddress], None]) -> None:
        """`opened` gets what it listens at, again after each reload that named another."""
        self._reactor = reactor
        self._opened = opened
        self._here = RenewableListening(address, reactor)
        self._factory: IProtocolFactory | None = None
        self._port: IListeningPort | None = None

    @property
    def address(self) -> Address:
        """Where it is, as users write it."""
        return self._here.address

    def start(self, factory: IProtocolFactory) -> None:
        """Listen.

        @raise CannotListen: that is not possible.
        """
        self._factory = factory
        failures: list[Exception] = []
        self._listen(self._here).addCallbacks(self._keep, lambda failure: failures.append(failure.value))
        if failures:
            raise CannotListen(f"cannot listen on {self.address.text}: {_reason(failures[0])}")

    def told(self) -> str:
        """Return where it is, beginning with what to type to get there."""
        assert self._port is not None, "it listens"
        return self.address.told(self._port.getHost())

    def open(self) -> None:
        """Have those who come judged as is right for where they come."""
        assert self._port is not None, "it listens"
        self._opened(self._port.getHost())

    def stop(self) -> Deferred[None]:
        """Let nobody in any more; connections go on."""
        port, self._port = self._port, None
        return (port and port.stopListening()) or succeed(None)

    def read(self, address: Address) -> ListeningPlan:
        """Return what can listen at an address, and what it is that listens now.  This may block.

        @raise CannotListen: the certificate of `address` cannot be used.
        """
        there, here = self._read(address), self._here
        if address == here.address:
            return ListeningPlan(there, there)
        try:
            return ListeningPlan(there, self._read(here.address))
        except CannotListen:  # no reason not to leave
            return ListeningPlan(there, here)

    def follow(self, plan: ListeningPlan) -> None:
        """Have new connections get the certificate; if it is to be elsewhere, move there, or stay if that cannot be.

        Connections that are open go on, wherever they came in.
        """
        there = plan.there
        self._here.context = plan.here.context  # also for those who come until it has moved, if ever
        if there.address == self.address:
            return
        if self.address.is_given or there.address.is_given:
            self._log.warn("`listen` has changed; that takes effect at the next start of llama-swap")
        elif self._port is not None:  # else the end has begun
            listening = maybeDeferred(self._listen, there)
            listening.addCallbacks(self._move, self._stay, callbackArgs=(there,)).addCallback(lambda _: self.open())

    def _read(self, address: Address) -> RenewableListening:
        read = RenewableListening(address, self._reactor)
        read.context = read.read()
        return read

    def _listen(self, where: RenewableListening) -> Deferred[IListeningPort]:
        assert self._factory is not None, "it has been started"
        return where.listen(self._factory).addCallback(
            admit_by_descriptors, self._reactor, queued=where.address.is_given
        )

    def _keep(self, port: IListeningPort) -> None:
        self._port = port

    def _move(self, port: IListeningPort, there: RenewableListening) -> None:
        self.stop()
        self._here, self._port = there, port
        self._log.info("listening on {address} from now on", address=self.told())

    def _stay(self, failure: Failure) -> None:
        reason = _reason(failure.value)
        self._log.error(
            "`listen` has changed, but stays {address} until the next start: {reason}",
            address=self.address.text,
            reason=reason,
        )


def _reason(error: BaseException | None) -> str:
    """Return why there is no socket; of those in the file system Twisted tells in terms of its lock."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
