"""Kept connections to one upstream.

A kept connection saves a connect, and risks that its upstream closes it just when a request is on its way.  What
became of such a request often cannot be known: the upstream's kernel may have taken it, and nobody read it.  So
connections are used again only where that does not happen:

- by an upstream on trial, none is: it must first have left one open for a while, and closed none sooner;
- of an upstream that was caught closing one, none is kept for a time; then the trial begins anew;
- a connection must have rested a little, so that a close which follows an answer has shown, and not for long: for a
  fraction of the time for which the upstream has been seen to leave one open;
- a request of which provably nothing arrived is sent again, once, on a new connection.
"""

from __future__ import annotations

from collections import deque
from math import inf

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from llama_swap.relay.connection import UpstreamConnection

REST = 0.002
"""Seconds."""
KEPT = 0.25
"""Seconds.  Some servers (llama.cpp's among them) give each open connection a thread, so idle ones must not linger."""
MOST = 64
"""Idle connections of one upstream."""
TRIAL = 4.0
"""For how many seconds an upstream must leave an idle connection open before any is used again."""
DOUBT = 60.0
"""For how many seconds no connection is kept after the upstream has closed one too soon."""


@define(eq=False)
class Pool:
    """Connects to one upstream, or gives a connection that was used before."""

    _endpoint: IStreamClientEndpoint
    clock: IReactorTime
    _idle: deque[tuple[float, UpstreamConnection]] = field(factory=deque)
    """The longest idle first."""
    _expiry: IDelayedCall | None = None
    _trusted: bool = False
    _doubted_until: float = -inf

    def connect(self) -> Deferred[UpstreamConnection]:
        """Make a new connection."""
        connecting: Deferred[UpstreamConnection] = self._endpoint.connect(_Connections(self))  # type: ignore[assignment]
        return connecting

    def take(self) -> UpstreamConnection | None:
        """Return a kept connection that is fit to carry a request, if there is one."""
        now = self.clock.seconds()
        while self._trusted and self._idle and self._idle[0][0] <= now - REST:
            since, connection = self._idle.popleft()
            if not connection.is_open():
                connection.abort()
                self.doubt()
            elif now < since + KEPT:
                return connection
            else:
                connection.abort()
        return None

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange is over, and that can carry another."""
        now = self.clock.seconds()
        if now < self._doubted_until or len(self._idle) >= (MOST if self._trusted else 1):
            connection.abort()
            return
        self._idle.append((now, connection))
        if self._expiry is None:
            self._expiry = self.clock.callLater(self._limit, self._expire)

    def doubt(self) -> None:
        """The upstream has closed a connection that could have carried a request, or did."""
        self._trusted = False
        self._doubted_until = self.clock.seconds() + DOUBT
        while self._idle:
            self._idle.popleft()[1].abort()

    @property
    def _limit(self) -> float:
        return KEPT if self._trusted else TRIAL

    def _expire(self) -> None:
        """Close what has been idle for too long, and look again when the next will have been."""
        self._expiry = None
        now = self.clock.seconds()
        while self._idle and self._idle[0][0] + self._limit <= now:
            connection = self._idle.popleft()[1]
            if connection.is_open():
                self._trusted = True
            else:
                self.doubt()
            connection.abort()
        if self._idle:
            self._expiry = self.clock.callLater(self._idle[0][0] + self._limit - now, self._expire)


class _Connections(Factory):
    """Makes the pool's connections."""

    noisy = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:
        """See `IProtocolFactory.buildProtocol`."""
        return UpstreamConnection(self._pool.doubt)
