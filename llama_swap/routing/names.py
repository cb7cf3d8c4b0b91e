"""From the name in a request to the model that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from heapq import nlargest
from itertools import count, islice

from attrs import Factory, field, frozen

from llama_swap.config.model import Config
from llama_swap.errors import NotFound
from llama_swap.routing.peers import PeerModel, Peers
from llama_swap.routing.selection import Usage, choose
from llama_swap.scheduling.commands import Target

LONGEST_NAME = 4096
"""The most characters of a name: what clients make up is kept with their requests, and told in errors."""
LONGEST_SLIP = 100
"""Characters; a longer name is no slip, and gets no suggestion."""
MOST_COMPARED = 300
"""The most names whose letters are compared with an unknown one's, at a few µs each."""
MOST_LIKELY = 8
"""The most names that are then compared as a whole, at up to a millisecond each."""


@frozen
class Resolved:
    """Where a request goes, and under which name."""

    target: Target | PeerModel
    name: str
    """The `model` that the upstream gets."""


@frozen
class Names:
    """All names by which clients may call models.

    A name is looked up in this order: the pins of the active profile; selectors; ids and aliases; `PROFILE:MODEL`;
    `PEER/MODEL`, or a peer's model alone, as far as the models of peers are known at that moment.
    """

    config: Config
    active: str | None = Factory(lambda names: names.config.startup_profile, takes_self=True)
    """The profile whose pins apply; None for none."""
    _usage: Callable[[Target | PeerModel], Usage] = lambda target: Usage()
    peers: Peers = Factory(lambda names: Peers(names.config.peers), takes_self=True)
    _ids: Mapping[str, str] = field(init=False)
    pins: Mapping[str, str | None] = field(init=False)
    """The pins of the active profile: the name that each name stands for; None: it is refused."""
    _turns: Iterator[int] = field(factory=count, init=False)
    _resolved: dict[str, Resolved] = field(factory=dict, init=False)
    """Cache of the names that resolve the same way for every request."""

    @_ids.default
    def _(self) -> dict[str, str]:
        aliases = {alias: model.id for model in self.config.models.values() for alias in model.aliases}
        return aliases | {model: model for model in self.config.models}

    @pins.default
    def _active_pins(self) -> Mapping[str, str | None]:
        return {} if self.active is None else self.config.pin_profiles[self.active].pins

    def model_id(self, name: str) -> str | None:
        """Return the id of the model that has `name` as id or alias."""
        return self._ids.get(name)

    @property
    def refused(self) -> frozenset[str]:
        """The names that the active profile refuses."""
        return frozenset(name for name, pinned in self.pins.items() if pinned is None)

    def pinned(self, name: str) -> str:
        """Return the name that `name` stands for in the active profile.

        @raise NotFound: the profile refuses it.
        """
        pinned = self.pins.get(name, name)
        if pinned is None:
            raise NotFound(f"the active profile, {self.active!r}, has no model for {name!r}")
        return pinned

    def find(self, name: str) -> Target | PeerModel | None:
        """Return what `name` asks for, without pins and selectors; None if there is no such name.

        @raise NotFound: it names a profile, but no member of it.
        """
        if (whole := self._ids.get(name)) is not None:
            return Target(whole)
        profile, colon, member = name.partition(":")
        members = self.config.profiles.get(profile) if colon else None
        if members is None:
            return self.peers.find(name)
        model = self._ids.get(member)
        if model not in members:
            raise NotFound(f"model {member!r} is not part of profile {profile!r}, which has {', '.join(members)}")
        return Target(model, profile)

    def resolve(self, name: str) -> Resolved:
        """Return what `name` asks for.

        @raise NotFound: there is no such name.
        """
        return self._resolved.get(name) or self._resolve(name)

    def _resolve(self, name: str) -> Resolved:
        if len(name) > LONGEST_NAME:
            raise NotFound(f"no model has a name of {len(name)} characters; GET /v1/models lists what there is")
        wanted = self.pinned(name)
        selector = self.config.selectors.get(wanted)
        if selector is not None:
            wanted = choose(selector, self._usage_of, next(self._turns))
        target = self._anywhere(wanted)
        if target is None:
            raise NotFound(f"no model {wanted!r} here; {self._remedy(wanted)}")
        resolved = Resolved(target, self._upstream_name(wanted, target))
        if selector is None and wanted in self._ids:
            self._resolved[name] = resolved
        return resolved

    def _anywhere(self, name: str) -> Target | PeerModel | None:
        return self.find(name) or self.peers.unlisted(name)

    def _remedy(self, name: str) -> str:
        """Say what to do where there is no such name."""
        if owners := self.peers.owners(name):
            return f"several peers have it, so ask for {' or '.join(f'{peer}/{name}' for peer in owners)}"
        return f"{self._meant(name)}GET /v1/models lists what there is"

    def _meant(self, name: str) -> str:
        """Suggest a listed name that is much like `name`, if there is one."""
        if len(name) > LONGEST_SLIP:
            return ""
        known = (known for known, model in self._ids.items() if not self.config.models[model].unlisted)
        spelled = {known.lower(): known for known in islice(known, MOST_COMPARED)}
        slip = SequenceMatcher(b=name.lower())

        def alike(known: str) -> float:
            slip.set_seq1(known)
            return slip.quick_ratio()

        close = get_close_matches(name.lower(), nlargest(MOST_LIKELY, spelled, key=alike), n=1)
        return f"did you mean {spelled[close[0]]!r}? " if close else ""

    def _usage_of(self, name: str) -> Usage:
        target = self._anywhere(name)
        return Usage() if target is None else self._usage(target)

    def _upstream_name(self, name: str, target: Target | PeerModel) -> str:
        """Return the `model` for the upstream of `target`, where the client wrote `name`."""
        if isinstance(target, PeerModel):
            return target.model
        return self.config.models[target.model].use_model_name or (
            name if target.profile is None else name.partition(":")[2]
        )
