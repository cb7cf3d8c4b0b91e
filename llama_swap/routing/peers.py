"""Models that other servers have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from attrs import define, field, frozen

from llama_swap.config.model import Peer
from llama_swap.errors import SwapError, UpstreamError
from llama_swap.http.headers import Fields

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
    """A resolved name: a model of a peer."""

    peer: str
    model: str
    """As the peer calls it."""

    def __str__(self) -> str:
        return f"{self.peer}/{self.model}"


@frozen
class Seen:
    """What came of the last question to a peer."""

    models: tuple[str, ...] | None = None
    """Those of its last good answer; None if there was none, or if the configuration has its models."""
    answers: bool = True


UNSEEN = Seen()


@define
class Peers:
    """The peers, their models, whether they answer, and how many requests are under way to them.

    Requests are sent even to a peer that did not answer when it was last asked: it may be back.  A request whose
    outcome contradicts the last answer is a reason to ask again.
    """

    configured: Mapping[str, Peer]
    """By name."""
    _quiet: Callable[[], None] = lambda: None
    """Called when no request is under way any more."""
    doubt: Callable[[str], None] = lambda peer: None
    """Called with a peer whose last answer a request has contradicted."""
    closed: bool = False
    """Whether nothing new may be sent, because the proxy shuts down."""
    seen: Mapping[str, Seen] = field(factory=dict)
    """By name, those that were asked; replaced, not changed, by each new answer."""
    _requests: Counter[PeerModel] = field(factory=Counter)
    _names: Mapping[str, PeerModel] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._names = self._by_name()

    def follow(self, configured: Mapping[str, Peer]) -> None:
        """Have other peers from now on."""
        self.configured = configured
        self._names = self._by_name()

    def saw(self, peer: str, seen: Seen) -> None:
        """Note what came of a question to a peer."""
        if self.seen.get(peer) != seen:
            self.seen = {**self.seen, peer: seen}
            self._names = self._by_name()

    def forget(self, peer: str) -> None:
        """Drop what a peer has answered."""
        self.seen = {name: seen for name, seen in self.seen.items() if name != peer}
        self._names = self._by_name()

    # -- what they have ---------------------------------------------------------------------------------------

    def models(self) -> list[PeerModel]:
        """Return the models of the peers, as far as they are known."""
        return [PeerModel(name, model) for name in self.configured for model in self._models_of(name)]

    def find(self, name: str) -> PeerModel | None:
        """Return the model for `name`: `peer/model`, or `model` where only one peer has it.

        Configured models come before discovered ones: no peer can take such a name from another.
        """
        return self._names.get(name)

    def unlisted(self, name: str) -> PeerModel | None:
        """Return the model for a name that begins with that of a peer whose models are not known."""
        for peer, model in self._split(name):
            if self.configured[peer].models is None:
                return PeerModel(peer, model)
        return None

    def silent(self, name: str) -> str | None:
        """Return the peer that `name` begins with, if its models are not known because it has not answered yet."""
        peers = (peer for peer, _ in self._split(name) if self.configured[peer].models is None)
        return next((peer for peer in peers if self.seen.get(peer, UNSEEN).models is None), None)

    def owners(self, model: str) -> list[str]:
        """Return the peers that have a model."""
        return [found.peer for found in self.models() if found.model == model]

    def counted_as(self, model: PeerModel) -> str:
        """Return the name under which requests for `model` are counted.

        All models that neither the configuration nor the peer names share one: otherwise clients could make up any
        number of names.
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
        """Yield each way to split `name` into that of a peer and the rest."""
        for peer in self.configured:
            model = name.removeprefix(f"{peer}/")
            if model not in ("", name):
                yield peer, model

    # -- how they do ------------------------------------------------------------------------------------------

    def answers(self, peer: str) -> bool:
        """Whether a peer answered when it was last asked; true for one that was not asked yet."""
        return self.seen.get(peer, UNSEEN).answers

    def begin(self, model: PeerModel) -> None:
        """A request is sent."""
        self._requests[model] += 1

    def end(self, model: PeerModel, error: SwapError | None = None) -> None:
        """The request is over, with `error` if it failed."""
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
        """How many requests for `model` are under way."""
        return self._requests[model]


def _by_full_name(models: Iterable[PeerModel]) -> dict[str, PeerModel]:
    return {str(model): model for model in models}


def _unique(models: Iterable[PeerModel]) -> dict[str, PeerModel]:
    """Return the models that only one peer has, by their own names."""
    known = list(models)
    owners = Counter(found.model for found in known)
    return {found.model: found for found in known if owners[found.model] == 1}
