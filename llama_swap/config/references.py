"""Resolves the names of models to which other parts of the file refer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property

from attrs import field, frozen

from llama_swap.config.model import ModelConfig, Peer
from llama_swap.config.tree import Findings, Node, Scalar


@frozen
class Known:
    """The models that a file may refer to."""

    models: Mapping[str, ModelConfig]
    names: Mapping[str, str]
    """From ids and aliases to ids."""
    peers: Mapping[str, Peer] = field(factory=dict)

    def reaches(self, name: str) -> bool:
        """Whether a request for `name` reaches a model, here or, as `peer/model`, at a peer.

        A peer whose models are not listed may have any.
        """
        if name in self.names:
            return True
        for peer, settings in self.peers.items():
            model = name.removeprefix(f"{peer}/")
            if model not in ("", name) and (settings.models is None or model in settings.models):
                return True
        return False

    def unknown(self, name: str) -> str:
        """Return the message that there is no model `name`, with a suggestion if there is one."""
        close = get_close_matches(name, self.names, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        return f"there is no model or alias {name!r}{meant}"

    def model(self, node: Node, found: Findings) -> str | None:
        """Return the id of the model that a node names; report it if there is none."""
        if not isinstance(node, Scalar) or node.is_null:
            found.error(node, f"must be the name of a model, not {node.summary}")
            return None
        if node.text not in self.names:
            found.error(node, self.unknown(node.text))
        return self.names.get(node.text)

    @cached_property
    def _shared(self) -> dict[str, tuple[str, int]]:
        """The addresses, by id, of models that share theirs with another."""
        addresses = {model.id: model.address for model in self.models.values()}
        models = Counter(addresses.values())
        return {model: address for model, address in addresses.items() if models[address] > 1}

    def warn_of_shared_addresses(self, together: Iterable[str], at: Node, found: Findings) -> None:
        """Warn about models that should run side by side, but cannot, since they have the same address."""
        if found.errors:
            return  # the addresses may be wrong
        sharing: dict[tuple[str, int], list[str]] = {}
        for model in sorted(self._shared.keys() & set(together)):
            sharing.setdefault(self._shared[model], []).append(model)
        for (host, port), ids in sharing.items():
            if len(ids) > 1:
                turns = "they take turns instead of running side by side; give each a port of its own"
                found.warn(at, f"{', '.join(ids)} all listen on {host}:{port}, so {turns}")
