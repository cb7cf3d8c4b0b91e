"""Models that other servers have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from llama_swap.config.model import Peer
from llama_swap.relay.headers import Fields

_KEYS = frozenset({b"authorization", b"x-api-key"})


def with_key(peer: Peer, fields: Fields) -> Fields:
    """Return the fields of a client, with the peer's own key instead of the client's, if it has one."""
    if peer.api_key is None:
        return fields
    key = peer.api_key.encode()
    kept = [(name, value) for name, value in fields if name.lower() not in _KEYS]
    return [*kept, (b"Authorization", b"Bearer " + key), (b"x-api-key", key)]


@frozen
class PeerModel:
    """What a request names, resolved: a model of a peer."""

    peer: str
    model: str
    """As the peer calls it."""

    def __str__(self) -> str:
        return f"{self.peer}/{self.model}"


def listed(peers: Mapping[str, Peer]) -> dict[str, PeerModel]:
    """Return what peers are known to have by name: as `peer/model`, and as `model` where only one of them has it."""
    known = [PeerModel(name, model) for name, peer in peers.items() for model in peer.models or ()]
    owners = Counter(found.model for found in known)
    bare = {found.model: found for found in known if owners[found.model] == 1}
    return bare | {str(found): found for found in known}


def unlisted(peers: Mapping[str, Peer], name: str) -> PeerModel | None:
    """Return the model of a peer that does not say what it has, if `name` begins with that peer's name."""
    for peer, settings in peers.items():
        if settings.models is None and name.startswith(f"{peer}/") and name != f"{peer}/":
            return PeerModel(peer, name.removeprefix(f"{peer}/"))
    return None


@frozen
class Seen:
    """What is known of a peer that does not say what it has."""

    models: tuple[str, ...] = ()
    """Those of its last good answer."""
    answers: bool = True
    """Whether the last time that it was asked, it said what it has."""


@define
class Peers:
    """The peers, what they have, and how many requests their models have from here."""

    configured: Mapping[str, Peer]
    """By name."""
    _quiet: Callable[[], None] = lambda: None
    """Told when no request is under way any more."""
    closed: bool = False
    """Whether nothing new is to be sent, since the proxy shuts down."""
    seen: Mapping[str, Seen] = field(factory=dict)
    """By name, those that were asked what they have; another mapping whenever it changes."""
    _requests: Counter[PeerModel] = field(factory=Counter)

    def saw(self, peer: str, seen: Seen) -> None:
        """A peer was asked."""
        if self.seen.get(peer) != seen:
            self.seen = {**self.seen, peer: seen}

    def forget(self, peer: str) -> None:
        """What a peer said does not count any more."""
        self.seen = {name: seen for name, seen in self.seen.items() if name != peer}

    def models(self) -> list[PeerModel]:
        """Return what the peers have, as far as it is known."""
        return [
            PeerModel(name, model)
            for name, peer in self.configured.items()
            for model in (self.seen.get(name, Seen()).models if peer.models is None else peer.models)
        ]

    def answers(self, peer: str) -> bool:
        """Whether a peer was there when it was last asked what it has; who never was is trusted to be."""
        return self.seen.get(peer, Seen()).answers

    def begin(self, model: PeerModel) -> None:
        """A request is sent."""
        self._requests[model] += 1

    def end(self, model: PeerModel) -> None:
        """It is over."""
        self._requests[model] -= 1
        if not self._requests[model]:
            del self._requests[model]
        if not self.are_busy:
            self._quiet()

    @property
    def are_busy(self) -> bool:
        """Whether any request is under way."""
        return bool(self._requests)

    def requests(self, model: PeerModel) -> int:
        """How many are under way."""
        return self._requests[model]
