"""Kept connections to one upstream.

A kept connection saves a connect, and risks that its upstream closes it just when a request is on its way.  Three
rules keep that from costing anybody an answer: a connection is used again only after it has rested a little, so that
a close which follows an answer has shown; and only for a short time, well below what servers allow; and a request of
which provably nothing arrived is sent again, once, on a new connection.
"""

from __future__ import annotations

from collections import deque

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


@define(eq=False)
class Pool:
    """Connects to one upstream, or gives a connection that was used before."""

    _endpoint: IStreamClientEndpoint
    _clock: IReactorTime
    _idle: deque[tuple[float, UpstreamConnection]] = field(factory=deque)
    """The longest idle first."""
    _expiry: IDelayedCall | None = None

    def connect(self) -> Deferred[UpstreamConnection]:
        """Make a new connection."""
        connecting: Deferred[UpstreamConnection] = self._endpoint.connect(_Connections(self))  # type: ignore[assignment]
        return connecting

    def take(self) -> UpstreamConnection | None:
        """Return a kept connection that is fit to carry a request, if there is one."""
        rested_since = self._clock.seconds() - REST
        while self._idle and self._idle[0][0] <= rested_since:
            _, connection = self._idle.popleft()
            if connection.is_open():
                return connection
            connection.abort()
        return None

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange is over, and that can carry another."""
        if len(self._idle) >= MOST:
            connection.abort()
            return
        self._idle.append((self._clock.seconds(), connection))
        if self._expiry is None:
            self._expiry = self._clock.callLater(KEPT, self._expire)

    def forget(self, connection: UpstreamConnection) -> None:
        """An idle connection has ended."""
        self._idle = deque(kept for kept in self._idle if kept[1] is not connection)

    def _expire(self) -> None:
        """Close what has been idle for too long, and look again when the next will have been."""
        self._expiry = None
        now = self._clock.seconds()
        while self._idle and self._idle[0][0] + KEPT <= now:
            self._idle.popleft()[1].abort()
        if self._idle:
            self._expiry = self._clock.callLater(self._idle[0][0] + KEPT - now, self._expire)


class _Connections(Factory):
    """Makes the pool's connections."""

    noisy = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:
        """See `IProtocolFactory.buildProtocol`."""
        return UpstreamConnection(self._pool.forget)
