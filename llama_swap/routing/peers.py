"""Models that other servers have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from llama_swap.config.model import Peer


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


@define
class Peers:
    """The peers, and how many requests their models have from here."""

    configured: Mapping[str, Peer]
    """By name."""
    _quiet: Callable[[], None] = lambda: None
    """Told when no request is under way any more."""
    closed: bool = False
    """Whether nothing new is to be sent, since the proxy shuts down."""
    _requests: Counter[PeerModel] = field(factory=Counter)

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
