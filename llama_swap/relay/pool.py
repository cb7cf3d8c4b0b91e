"""Kept connections to one upstream.

A kept connection saves a connect, and risks that its upstream closes it just when a request is on its way.  What
became of such a request often cannot be known: the upstream's kernel may have taken it, and nobody read it.  So
connections are used again only where that does not happen:

- by an upstream on trial, none is: it must first have left one open for a while, and closed none sooner;
- of an upstream that was caught closing one, none is kept for a time; then the trial begins anew;
- a connection must have rested a little, so that a close which follows an answer has shown, and not for long: for a
  fraction of the time for which the upstream has been seen to leave one open; after an answer in chunks, it rests
  longer, until the upstream was seen to leave one open: llama.cpp's server closes after each of those, and no other;
- a request of which provably nothing arrived is sent again, once, on a new connection.

And some servers (llama.cpp's and others built on cpp-httplib) have a fixed number of threads, of which each open
connection holds one, idle or not; what comes over others waits unread.  No request may starve there behind connections
that are kept.  So while one over a new connection waits for the first byte of its answer, all that are idle are closed,
and for a time none is kept.  Perhaps the upstream has only much to do for it; but then the time that a kept connection
saves is a small part of an answer's.  That is not so of connections that are dear, since TLS is to be agreed on: they
make no way, and are kept for longer.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from math import inf
from operator import itemgetter
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from llama_swap.relay.connection import UpstreamConnection

REST = 0.002
"""Seconds."""
REST_AFTER_CHUNKS = 0.1
"""Seconds: a busy machine may keep a thread that wants to close from doing so."""
KEPT = 0.25
"""Seconds: an idle connection costs its server something, perhaps a thread."""
DEAR_KEPT = 2.0
"""Seconds, for connections that are dear."""
MOST = 64
"""Idle connections of one upstream."""
TRIAL = 4.0
"""For how many seconds an upstream must leave an idle connection open before any is used again."""
DOUBT = 60.0
"""For how many seconds no connection is kept after the upstream has closed one too soon."""
PATIENCE = 0.025
"""How many seconds a request over a new connection may wait beside kept ones for the first byte of its answer."""
MAKE_WAY = 5.0
"""For how many seconds no connection is kept after one has waited longer."""


class Asker(Protocol):
    """Who sends a request over a new connection."""

    def hears_nothing(self) -> bool:
        """Whether nothing of the answer has come, not even to the kernel."""


@define(eq=False)
class Pool:
    """Connects to one upstream, or gives a connection that was used before."""

    _endpoint: IStreamClientEndpoint
    clock: IReactorTime
    _dear: bool = field(default=False, kw_only=True)
    """Whether it takes more than a connect until a request can be sent."""
    _idle: deque[tuple[float, UpstreamConnection, bool]] = field(factory=deque)
    """With the time from which each would be idle, had all the same rest, the earliest first; whether after chunks."""
    _askers: dict[Asker, float] = field(factory=dict)
    """Since when they wait, the longest first.  Who has heard something may be missing, or not."""
    _next_look: IDelayedCall | None = None
    _trusted: bool = False
    _trusted_after_chunks: bool = False
    _none_until: float = -inf
    _connections: _Connections = field(init=False)

    @_connections.default
    def _(self) -> _Connections:
        return _Connections(self.doubt)

    def connect(self, asker: Asker) -> Deferred[UpstreamConnection]:
        """Make a new connection for `asker`, which is to be forgotten when its exchange is over."""
        if not self._dear:
            self._askers[asker] = self.clock.seconds()
        connecting: Deferred[UpstreamConnection] = self._endpoint.connect(self._connections)  # type: ignore[assignment]
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
        """Take back a connection whose exchange is over, and that can carry another."""
        now = self.clock.seconds()
        if self._askers and now >= self._none_until:
            self._make_way(now)
        if now < self._none_until or len(self._idle) >= (MOST if self._trusted else 1):
            connection.dismiss()
            return
        needs_longer = after_chunks and not self._trusted_after_chunks
        since = now + REST_AFTER_CHUNKS - REST if needs_longer else now
        insort(self._idle, (since, connection, after_chunks), key=itemgetter(0))
        if self._next_look is None:
            self._next_look = self.clock.callLater(self._rhythm, self._look)

    def doubt(self) -> None:
        """The upstream has closed a connection that could have carried a request, or did."""
        self._trusted = self._trusted_after_chunks = False
        self._keep_none(self.clock.seconds() + DOUBT)

    @property
    def _kept(self) -> float:
        return DEAR_KEPT if self._dear else KEPT

    @property
    def _rhythm(self) -> float:
        """How many seconds there are from look to look, at most."""
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
        """Keep none for a time, if a request has waited for too long."""
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
