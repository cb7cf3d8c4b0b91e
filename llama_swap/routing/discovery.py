"""Finds out what those peers have that do not say it in the configuration, and goes on asking them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.kinds import is_name
from llama_swap.config.model import Peer
from llama_swap.errors import UpstreamError
from llama_swap.relay.headers import Fields
from llama_swap.routing.peers import Peers, Seen, with_key

EVERY = 60.0
"""Seconds from one question to the next."""
PATIENCE = 10.0
"""Seconds that the whole answer may take."""

Fetch = Callable[[str, Fields], Deferred[bytes]]
"""Gets what is at a URL, asked for with header fields; fails if that is not to be had; may be cancelled."""


def models_in(body: bytes) -> tuple[str, ...]:
    """Return the ids in an answer of `/v1/models`, each once, in their order.

    What a llama-swap has from peers of its own is left out, or two that are peers of each other would find names
    without end.

    @raise UpstreamError: the body is something else.
    """
    try:
        entries = json.loads(body)["data"]
        ids = [entry["id"] for entry in entries if not _is_of_a_peer(entry)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UpstreamError("its answer is not a list of models") from None
    return tuple(dict.fromkeys(id_ for id_ in ids if isinstance(id_, str) and is_name(id_)))


def _is_of_a_peer(entry: Any) -> bool:
    meta = entry.get("meta") if isinstance(entry, dict) else None
    ours = meta.get("llamaswap") if isinstance(meta, dict) else None
    return isinstance(ours, dict) and ours.get("type") == "peer"


class Discovery(Service):
    """Asks each peer without `models` for its list, at the start and from then on.

    What came last stays known while a peer does not answer.
    """

    def __init__(self, peers: Peers, clock: IReactorTime, fetch: Fetch) -> None:
        self._peers = peers
        self._clock = clock
        self._fetch = fetch
        self._inquiries: dict[str, _Inquiry] = {}

    def startService(self) -> None:
        """Begin to ask."""
        super().startService()
        self.follow()

    def stopService(self) -> None:
        """Ask no more; an answer that is under way is not waited for."""
        super().stopService()
        for inquiry in self._inquiries.values():
            inquiry.stop()
        self._inquiries.clear()

    def follow(self) -> None:
        """Ask those peers that are configured now; those that are reached as before go on undisturbed."""
        if not self.running:
            return
        wanted = {name: peer for name, peer in self._peers.configured.items() if peer.models is None}
        for name, inquiry in tuple(self._inquiries.items()):
            if not inquiry.is_of(wanted.get(name)):
                inquiry.stop()
                del self._inquiries[name]
                self._peers.forget(name)
        for name, peer in wanted.items():
            if name not in self._inquiries:
                self._inquiries[name] = inquiry = _Inquiry(name, peer, self._fetch, partial(self._peers.saw, name))
                inquiry.start(self._clock)


@define(eq=False)
class _Inquiry:
    """Asks one peer, again and again."""

    name: str
    peer: Peer
    _fetch: Fetch
    _tell: Callable[[Seen], None]
    _seen: Seen = field(factory=Seen)
    _asking: LoopingCall = field(init=False)
    _answer: Deferred[bytes] | None = None

    _log: ClassVar[Logger] = Logger()

    def is_of(self, peer: Peer | None) -> bool:
        """Whether `peer` is reached in the same way as the one that is asked."""
        return peer is not None and (peer.proxy, peer.api_key) == (self.peer.proxy, self.peer.api_key)

    def start(self, clock: IReactorTime) -> None:
        self._asking = LoopingCall(self._ask)
        self._asking.clock = clock
        self._asking.start(EVERY)

    def stop(self) -> None:
        self._asking.stop()
        if self._answer is not None:
            self._answer.cancel()

    def _ask(self) -> Deferred[None]:
        self._answer = answer = maybeDeferred(self._fetch, f"{self.peer.proxy}/v1/models", with_key(self.peer, ()))
        answer.addTimeout(PATIENCE, self._asking.clock)
        return answer.addCallback(models_in).addCallbacks(self._found, self._failed)

    def _found(self, models: tuple[str, ...]) -> None:
        if not self._seen.answers:
            self._log.info("peer {name} answers again", name=self.name)
        self._see(Seen(models, answers=True))

    def _failed(self, failure: Failure) -> None:
        if not self._asking.running:
            return  # nobody wants to know any more
        if self._seen.answers:
            late = failure.check(DeferredTimeout)
            reason = f"no whole answer within {PATIENCE:g} s" if late else failure.getErrorMessage()
            self._log.warn(
                "peer {name} does not say at {url}/v1/models what it has: {reason}. Asking again every {every:g} s; "
                "`models` in the configuration would spare it that",
                name=self.name,
                url=self.peer.proxy,
                reason=reason,
                every=EVERY,
            )
        self._see(evolve(self._seen, answers=False))

    def _see(self, seen: Seen) -> None:
        self._answer = None
        self._seen = seen
        self._tell(seen)
