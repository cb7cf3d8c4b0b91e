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
    """Where to listen (`there`), and where the proxy listens until then (`here`), which may be the same.

    Both have the certificate as it is in its files now.
    """

    there: RenewableListening
    here: RenewableListening


class Listening:
    """The port on which clients come, at one address after the other."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, address: Address, reactor: Any, opened: Callable[[IAddress], None]) -> None:
        """`opened` is called with the address once it listens, and again after each reload."""
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
        """Return where it listens, for people: the URL first."""
        assert self._port is not None, "it listens"
        return self.address.told(self._port.getHost())

    def open(self) -> None:
        """Call `opened` with the address: how clients are judged depends on it."""
        assert self._port is not None, "it listens"
        self._opened(self._port.getHost())

    def stop(self) -> Deferred[None]:
        """Stop listening; open connections go on.  If something is left over, that is logged."""
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        stopped: Deferred[Any] = maybeDeferred(port.stopListening)
        return stopped.addErrback(self._left_over, self.address.text)

    def read(self, address: Address) -> ListeningPlan:
        """Return the plan to listen at `address`.  This reads certificates, so it may block.

        @raise CannotListen: the certificate of `address` cannot be used.
        """
        there, here = self._read(address), self._here
        if address == here.address:
            return ListeningPlan(there, there)
        try:
            return ListeningPlan(there, self._read(here.address))
        except CannotListen:  # no reason not to move away
            return ListeningPlan(there, here)

    def follow(self, plan: ListeningPlan) -> None:
        """Use the plan's certificates for new connections, and move to its address; stay where that is not possible.

        Open connections go on, wherever they came in.
        """
        there = plan.there
        self._here.context = plan.here.context  # for those who come until it has moved, if it ever does
        if there.address == self.address:
            return
        if self.address.is_given or there.address.is_given:
            self._log.warn("`listen` has changed; that takes effect at the next start of llama-swap")
        elif self._port is not None:  # else the proxy is ending
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
        leaving = self.stop()
        self._here, self._port = there, port
        address = self.told()  # which another move may change
        leaving.addCallback(lambda _: self._log.info("listening on {address} from now on", address=address))

    def _left_over(self, failure: Failure, here: str) -> None:
        """Nobody can connect any more; but the file of a UNIX socket, for one, cannot be removed, or is gone."""
        self._log.warn("left {address}, but could not tidy up: {reason}", address=here, reason=_reason(failure.value))

    def _stay(self, failure: Failure) -> None:
        reason = _reason(failure.value)
        self._log.error(
            "`listen` has changed, but stays {address} until the next start: {reason}",
            address=self.address.text,
            reason=reason,
        )


def _reason(error: BaseException | None) -> str:
    """Return why there is no socket; for UNIX sockets, Twisted's message would be about its lock file."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
