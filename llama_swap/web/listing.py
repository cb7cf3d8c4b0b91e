"""What `/v1/models` lists: models, and other names that requests may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_swap.config.model import Config
from llama_swap.routing.names import Names


def listed(config: Config, names: Names, created: int) -> list[dict[str, Any]]:
    """Return the entries, as OpenAI has them (https://platform.openai.com/docs/api-reference/models/list), by id.

    What is unlisted, or refused by the active profile, is not there.
    """
    entries: dict[str, dict[str, Any]] = {}
    for id_, name, description, kind in _everything(config, names):
        if id_ not in names.refused and id_ not in entries:
            entry = {"id": id_, "object": "model", "created": created, "owned_by": "llama-swap"}
            told = {"name": name, "description": description, "meta": {"llamaswap": {"type": kind}}}
            entries[id_] = entry | {key: value for key, value in told.items() if value}
    return sorted(entries.values(), key=lambda entry: entry["id"])


def _everything(config: Config, names: Names) -> Iterator[tuple[str, str, str, str]]:
    """Yield id, name, description and kind; where one id is there twice, the first counts."""
    for model in config.models.values():
        if not model.unlisted:
            yield model.id, model.name, model.description, "model"
    for id_, selector in config.selectors.items():
        if not selector.unlisted:
            yield id_, selector.name, selector.description, "selector"
    for peer, settings in config.peers.items():
        for name in settings.models or ():
            yield f"{peer}/{name}", "", "", "peer"
    for id_ in names.pins:
        yield id_, "", "", "profile"
