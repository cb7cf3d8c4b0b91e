"""Kept connections to one upstream.

A kept connection saves a connect, but its upstream may close it just when a request is on its way.  What became of
that request often cannot be known: the upstream's kernel may have acknowledged what nobody read.  So connections are
used again only where that does not happen:

- An upstream is on trial first: none of its connections is used again until it has left one open for a while.
- After an upstream has closed one too soon, none is kept for a time; then the trial begins anew.
- A connection must have been idle for a little, so that a close which follows an answer has shown, and not for long: a
  fraction of the time for which the upstream is known to leave one open.  After a chunked answer, that little is more
  until one was seen to survive it: llama.cpp's server closes after each chunked answer, and after no other.
- A request of which provably nothing arrived is sent again, once, on a new connection.

Some servers (llama.cpp's and others built on cpp-httplib) have a fixed number of threads, and each open connection
holds one, idle or not; requests over other connections wait unread, and must not starve behind kept ones.  So when a
request over a new connection has waited for `PATIENCE`, all idle connections are closed, and for a time none is kept.
If the upstream was merely slow to answer, a new connection each time is a small part of what an answer takes.  Not so
with TLS, whose handshake is expensive ("dear"): these connections do not make way, and are kept for longer.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from math import inf
from operator import itemgetter
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from llama_swap.relay.connection import UpstreamConnection
from llama_swap.relay.local import Attempt, LoopbackEndpoint, Waiting

REST = 0.002
"""Seconds that a connection must be idle before it is used again."""
REST_AFTER_CHUNKS = 0.1
"""The same after a chunked answer: on a busy machine, the thread that is to close may not run for that long."""
KEPT = 0.25
"""Seconds for which an idle connection is kept; it costs its server something, perhaps a thread."""
DEAR_KEPT = 2.0
"""The same for connections over TLS."""
MOST = 64
"""The most idle connections that are kept to one upstream."""
TRIAL = 4.0
"""For how many seconds an upstream must leave an idle connection open before any is used again."""
DOUBT = 60.0
"""For how many seconds no connection is kept after the upstream has closed one too soon."""
PATIENCE = 0.025
"""How many seconds a request over a new connection may wait for the first byte of its answer beside kept ones."""
MAKE_WAY = 5.0
"""For how many seconds no connection is kept after a request has waited longer."""


class Asker(Waiting, Protocol):
    """Who sends a request over a new connection."""

    def hears_nothing(self) -> bool:
        """Whether nothing of the answer has come, not even to the kernel."""


@define(eq=False)
class Pool:
    """Gives connections to one upstream, kept ones or new ones."""

    _endpoint: IStreamClientEndpoint
    clock: IReactorTime
    _dear: bool = field(default=False, kw_only=True)
    """Whether a new connection takes more than a connect: a TLS handshake."""
    _idle: deque[tuple[float, UpstreamConnection, bool]] = field(factory=deque)
    """Idle since when, ordered by that; the connection; whether its last answer was chunked, for which the time is set
    later, so that `REST` holds for all."""
    _askers: dict[Asker, float] = field(factory=dict)
    """Since when they wait, the longest first; some of them may have heard from the upstream meanwhile."""
    _next_look: IDelayedCall | None = None
    _trusted: bool = False
    _trusted_after_chunks: bool = False
    _none_until: float = -inf
    _connections: _Connections = field(init=False)

    @_connections.default
    def _(self) -> _Connections:
        return _Connections(self.doubt)

    def connect(self, asker: Asker) -> Attempt:
        """Make a new connection for `asker`, which must call `forget` when its exchange is over."""
        if not self._dear:
            self._askers[asker] = self.clock.seconds()
        if isinstance(self._endpoint, LoopbackEndpoint):
            return self._endpoint.ask(self._connections, asker)
        connecting = self._endpoint.connect(self._connections)
        connecting.addCallbacks(asker.connected, asker.unreachable)
        return connecting

    def take(self) -> UpstreamConnection | None:
        """Return a kept connection that is fit to carry a request, if there is one."""
        now = self.clock.seconds()
        while self._trusted and self._idle and self._idle[0][0] <= now - REST:
            since, connection, after_chunks = self._idle.popleft()
            if not connection.is_open():
                connection.abort()
                self.doubt()
            elif now < since + self._kept:
                self._trusted_after_chunks |= after_chunks
                return connection
            else:
                connection.dismiss()
        return None

    def forget(self, asker: Asker) -> None:
        """The exchange of `asker` is over, with or without an answer."""
        self._askers.pop(asker, None)

    def keep(self, connection: UpstreamConnection, *, after_chunks: bool = False) -> None:
        """Take back a connection that can carry another exchange; `after_chunks`: its last answer was chunked."""
        now = self.clock.seconds()
        if self._askers and now >= self._none_until:
            self._make_way(now)
        if now < self._none_until or len(self._idle) >= (MOST if self._trusted else 1):
            connection.close()
            return
        needs_longer = after_chunks and not self._trusted_after_chunks
        since = now + REST_AFTER_CHUNKS - REST if needs_longer else now
        insort(self._idle, (since, connection, after_chunks), key=itemgetter(0))
        if self._next_look is None:
            self._next_look = self.clock.callLater(self._rhythm, self._look)

    def doubt(self) -> None:
        """The upstream has closed a kept connection, idle or with a request under way: keep none for `DOUBT`."""
        self._trusted = self._trusted_after_chunks = False
        self._keep_none(self.clock.seconds() + DOUBT)

    @property
    def _kept(self) -> float:
        return DEAR_KEPT if self._dear else KEPT

    @property
    def _rhythm(self) -> float:
        """The most seconds between two calls of `_look`."""
        return DEAR_KEPT if self._dear else PATIENCE

    def _look(self) -> None:
        """Close what has been idle for too long or stands in the way, and look again while any is left."""
        self._next_look = None
        now = self.clock.seconds()
        limit = self._kept if self._trusted else TRIAL
        while self._idle and self._idle[0][0] + limit <= now:
            _, connection, after_chunks = self._idle.popleft()
            if connection.is_open():
                self._trusted = True
                self._trusted_after_chunks |= after_chunks
            else:
                self.doubt()
            connection.dismiss()
        self._make_way(now)
        if self._idle:
            self._next_look = self.clock.callLater(min(self._rhythm, self._idle[0][0] + limit - now), self._look)

    def _make_way(self, now: float) -> None:
        """Keep none for `MAKE_WAY`, if a request has waited longer than `PATIENCE`."""
        while self._askers:
            asker, since = next(iter(self._askers.items()))
            if now < since + PATIENCE:
                return
            if asker.hears_nothing():
                self._keep_none(now + MAKE_WAY)
                return
            del self._askers[asker]

    def _keep_none(self, until: float) -> None:
        self._none_until = max(self._none_until, until)
        while self._idle:
            self._idle.popleft()[1].dismiss()


class _Connections(Factory):
    """Makes the pool's connections."""

    noisy = False

    def __init__(self, doubt: Callable[[], None]) -> None:
        self._doubt = doubt

    def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:
        """See `IProtocolFactory.buildProtocol`."""
        return UpstreamConnection(self._doubt)
