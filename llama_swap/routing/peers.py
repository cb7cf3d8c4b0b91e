"""Models that other servers have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field, frozen

from llama_swap.config.model import Peer
from llama_swap.errors import SwapError, UpstreamError
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


@frozen
class Seen:
    """How a peer was found when it was last asked."""

    models: tuple[str, ...] | None = None
    """Those of its last good answer; None if it never said, or was not asked, since the configuration says it."""
    answers: bool = True


UNSEEN = Seen()


@define
class Peers:
    """The peers, what they have, whether they answer, and how many requests their models have from here.

    That a peer did not answer when it was last asked keeps no request from it: it may be back.  A request that fares
    otherwise than what was seen lets expect is a reason to ask anew.
    """

    configured: Mapping[str, Peer]
    """By name."""
    _quiet: Callable[[], None] = lambda: None
    """Told when no request is under way any more."""
    doubt: Callable[[str], None] = lambda peer: None
    """Told which peer fares otherwise than it was seen."""
    closed: bool = False
    """Whether nothing new is to be sent, since the proxy shuts down."""
    seen: Mapping[str, Seen] = field(factory=dict)
    """By name, those that were asked; another mapping whenever it changes."""
    _requests: Counter[PeerModel] = field(factory=Counter)
    _names: Mapping[str, PeerModel] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._names = self._by_name()

    def follow(self, configured: Mapping[str, Peer]) -> None:
        """Have other peers from now on."""
        self.configured = configured
        self._names = self._by_name()

    def saw(self, peer: str, seen: Seen) -> None:
        """A peer was asked."""
        if self.seen.get(peer) != seen:
            self.seen = {**self.seen, peer: seen}
            self._names = self._by_name()

    def forget(self, peer: str) -> None:
        """What a peer said does not count any more."""
        self.seen = {name: seen for name, seen in self.seen.items() if name != peer}
        self._names = self._by_name()

    # -- what they have ---------------------------------------------------------------------------------------

    def models(self) -> list[PeerModel]:
        """Return what the peers have, as far as it is known."""
        return [PeerModel(name, model) for name in self.configured for model in self._models_of(name)]

    def find(self, name: str) -> PeerModel | None:
        """Return what goes by `name`: `peer/model`, or `model` where only one peer has it.

        What the configuration says of peers counts before what they say: no peer can take such a name from another.
        """
        return self._names.get(name)

    def unlisted(self, name: str) -> PeerModel | None:
        """Return the model of a peer that does not say what it has, if `name` begins with that peer's name."""
        for peer, model in self._split(name):
            if self.configured[peer].models is None:
                return PeerModel(peer, model)
        return None

    def silent(self, name: str) -> str | None:
        """Return the peer that `name` begins with, if it is not known what that has, because it has not said it yet."""
        peers = (peer for peer, _ in self._split(name) if self.configured[peer].models is None)
        return next((peer for peer in peers if self.seen.get(peer, UNSEEN).models is None), None)

    def owners(self, model: str) -> list[str]:
        """Return the peers that have a model."""
        return [found.peer for found in self.models() if found.model == model]

    def counted_as(self, model: PeerModel) -> str:
        """Return the name under which requests for `model` are counted.

        It is one for all those of which neither the configuration nor the peer says that there are any: else clients
        could make up names without end.
        """
        is_known = self._names.get(str(model)) == model
        return str(model) if is_known else f"{model.peer}/*"

    def _models_of(self, name: str) -> tuple[str, ...]:
        told = self.configured[name].models
        return (self.seen.get(name, UNSEEN).models or ()) if told is None else told

    def _by_name(self) -> dict[str, PeerModel]:
        told: list[PeerModel] = []
        said: list[PeerModel] = []
        for found in self.models():
            (said if self.configured[found.peer].models is None else told).append(found)
        taken = {found.model for found in told}
        bare = _unique(found for found in said if found.model not in taken)
        return bare | _by_full_name(said) | _unique(told) | _by_full_name(told)

    def _split(self, name: str) -> Iterable[tuple[str, str]]:
        """Yield each way to read `name` as that of a peer and something behind it."""
        for peer in self.configured:
            model = name.removeprefix(f"{peer}/")
            if model not in ("", name):
                yield peer, model

    # -- how they do ------------------------------------------------------------------------------------------

    def answers(self, peer: str) -> bool:
        """Whether a peer was there when it was last asked; who never was is trusted to be."""
        return self.seen.get(peer, UNSEEN).answers

    def begin(self, model: PeerModel) -> None:
        """A request is sent."""
        self._requests[model] += 1

    def end(self, model: PeerModel, error: SwapError | None = None) -> None:
        """It is over, with `error` if not as it should."""
        self._requests[model] -= 1
        if not self._requests[model]:
            del self._requests[model]
        failed = isinstance(error, UpstreamError)
        if (failed or error is None) and failed == self.answers(model.peer):
            self.doubt(model.peer)
        if not self.are_busy:
            self._quiet()

    @property
    def are_busy(self) -> bool:
        """Whether any request is under way."""
        return bool(self._requests)

    def requests(self, model: PeerModel) -> int:
        """How many are under way."""
        return self._requests[model]


def _by_full_name(models: Iterable[PeerModel]) -> dict[str, PeerModel]:
    return {str(model): model for model in models}


def _unique(models: Iterable[PeerModel]) -> dict[str, PeerModel]:
    """Return those that no two peers have, by their own names."""
    known = list(models)
    owners = Counter(found.model for found in known)
    return {found.model: found for found in known if owners[found.model] == 1}
