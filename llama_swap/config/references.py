"""Names of models, where other parts of the file refer to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from attrs import frozen

from llama_swap.config.model import ModelConfig
from llama_swap.config.tree import Findings, Node


@frozen
class Known:
    """The models that a file may refer to."""

    models: Mapping[str, ModelConfig]
    names: Mapping[str, str]
    """Ids and aliases, to ids."""

    def unknown(self, name: str) -> str:
        """Say that there is no model `name`, and which one may be meant."""
        close = get_close_matches(name, self.names, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        return f"there is no model or alias {name!r}{meant}"

    def warn_of_shared_addresses(self, together: Iterable[str], at: Node, found: Findings) -> None:
        """Warn about models that are to run at the same time, and cannot."""
        if found.errors:
            return  # perhaps about an address
        sharing: dict[tuple[str, int], list[str]] = {}
        for model in together:
            sharing.setdefault(self.models[model].address, []).append(model)
        for (host, port), ids in sharing.items():
            if len(ids) > 1:
                turns = "they take turns instead of running side by side; give each a port of its own"
                found.warn(at, f"{', '.join(ids)} all listen on {host}:{port}, so {turns}")
