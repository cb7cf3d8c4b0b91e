"""Finds out whether the peers answer, and which models they have where the configuration does not say so.

They are asked from time to time, independently of requests, which neither wait for that nor are refused because of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from attrs import define, evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import Peer
from llama_swap.config.names import is_name
from llama_swap.errors import UpstreamError
from llama_swap.http.headers import Fields
from llama_swap.routing.peers import UNSEEN, Peers, Seen, with_key

EVERY = 60.0
"""Seconds between two questions to a peer that answers."""
AGAIN = 10.0
"""The same for one that does not."""
AT_LEAST = 5.0
"""The same where the outcome of a request contradicts the last answer."""
PATIENCE = 10.0
"""Seconds for the whole answer."""

GATEWAY_ERRORS = frozenset({502, 503, 504})
"""With these, a gateway in front of a server says that the server itself is not there."""

Fetch = Callable[[str, Fields], Deferred[bytes]]
"""Returns the body at a URL, requested with header fields; fails if there is none; may be cancelled."""
Probe = Callable[[str, Fields], Deferred[int]]
"""The same for the status alone."""


def models_in(body: bytes) -> tuple[str, ...]:
    """Return the ids in the body of an answer to `/v1/models`, each once, in their order.

    Models that a llama-swap has from its own peers are left out: two that are peers of each other would find ever
    longer names.

    @raise UpstreamError: the body is no such answer.
    """
    try:
        entries = json.loads(body)["data"]
        ids = [entry["id"] for entry in entries if not _is_of_a_peer(entry)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UpstreamError("its answer is not a list of models") from None
    return tuple(dict.fromkeys(id_ for id_ in ids if isinstance(id_, str) and is_name(id_)))


def judge(status: int) -> None:
    """Accept the status of a server whose models are known, even if it refuses the question.

    @raise UpstreamError: the status says that the server is not there.
    """
    if status in GATEWAY_ERRORS:
        raise UpstreamError(f"it answers with status {status}")


def _is_of_a_peer(entry: Any) -> bool:
    meta = entry.get("meta") if isinstance(entry, dict) else None
    ours = meta.get("llamaswap") if isinstance(meta, dict) else None
    return isinstance(ours, dict) and ours.get("type") == "peer"


class Discovery(Service):
    """Asks each peer, from the start on, for its models; if the configuration has these, only whether it answers.

    While a peer does not answer, its last answer still counts.
    """

    def __init__(self, peers: Peers, clock: IReactorTime, fetch: Fetch, probe: Probe) -> None:
        self._peers = peers
        self._clock = clock
        self._fetch = fetch
        self._probe = probe
        self._inquiries: dict[str, _Inquiry] = {}
        peers.doubt = self._hasten

    def startService(self) -> None:
        """Begin to ask."""
        super().startService()
        self.follow()

    def stopService(self) -> None:
        """Ask no more, and drop the questions under way."""
        super().stopService()
        for inquiry in self._inquiries.values():
            inquiry.stop()
        self._inquiries.clear()

    def follow(self) -> None:
        """Ask the peers that are configured now; questions to unchanged ones go on."""
        if not self.running:
            return
        wanted = self._peers.configured
        for name, inquiry in tuple(self._inquiries.items()):
            if not inquiry.is_of(wanted.get(name)):
                inquiry.stop()
                del self._inquiries[name]
                self._peers.forget(name)
        for name, peer in wanted.items():
            if name not in self._inquiries:
                tell = partial(self._peers.saw, name)
                self._inquiries[name] = _Inquiry(name, peer, self._clock, partial(self._ask, peer), tell)

    def _ask(self, peer: Peer) -> Deferred[tuple[str, ...] | None]:
        """Ask for the models of a peer; if they are configured, only for an answer, with None."""
        url, fields = f"{peer.proxy}/v1/models", with_key(peer, ())
        if peer.models is None:
            return maybeDeferred(self._fetch, url, fields).addCallback(models_in)
        return maybeDeferred(self._probe, url, fields).addCallback(judge)

    def _hasten(self, peer: str) -> None:
        if (inquiry := self._inquiries.get(peer)) is not None:
            inquiry.hasten()


@define(eq=False)
class _Inquiry:
    """Asks one peer, at once and then periodically."""

    name: str
    peer: Peer
    _clock: IReactorTime
    _ask: Callable[[], Deferred[tuple[str, ...] | None]]
    _tell: Callable[[Seen], None]
    _seen: Seen = UNSEEN
    _asked: float = 0.0
    """When it was asked last, in seconds of the clock."""
    _next: IDelayedCall | None = None
    _answer: Deferred[Any] | None = None
    """The question under way, if any."""
    _stopped: bool = False

    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._begin()

    def is_of(self, peer: Peer | None) -> bool:
        """Whether `peer` is asked in the same way as the one that this asks."""
        return peer is not None and _way(peer) == _way(self.peer)

    def hasten(self) -> None:
        """Ask again as soon as `AT_LEAST` allows."""
        if self._next is not None:
            soonest = max(0.0, self._asked + AT_LEAST - self._clock.seconds())
            if self._clock.seconds() + soonest < self._next.getTime():
                self._next.reset(soonest)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
        if self._answer is not None:
            self._answer.cancel()

    def _begin(self) -> None:
        self._next = None
        self._asked = self._clock.seconds()
        self._answer = answer = self._ask()
        answer.addTimeout(PATIENCE, self._clock)
        answer.addCallbacks(self._found, self._failed)

    def _found(self, models: tuple[str, ...] | None) -> None:
        if self._stopped:
            return  # stopped after the answer had come
        if not self._seen.answers:
            self._log.info("peer {name} answers again", name=self.name)
        self._see(Seen(models, answers=True))

    def _failed(self, failure: Failure) -> None:
        if self._stopped:
            return  # stopped
        if self._seen.answers:
            late = failure.check(DeferredTimeout)
            self._log.warn(
                "peer {name} does not answer {url}/v1/models as it should: {reason}. Requests for its models are sent "
                "there nevertheless",
                name=self.name,
                url=self.peer.proxy,
                reason=f"no whole answer within {PATIENCE:g} s" if late else failure.getErrorMessage().rstrip("."),
            )
        self._see(evolve(self._seen, answers=False))

    def _see(self, seen: Seen) -> None:
        self._answer = None
        self._seen = seen
        self._next = self._clock.callLater(EVERY if seen.answers else AGAIN, self._begin)
        self._tell(seen)


def _way(peer: Peer) -> tuple[str, str | None, bool]:
    """Return everything that decides how a peer is asked."""
    return peer.proxy, peer.api_key, peer.models is None
