"""What `/v1/models` lists: models, and other names that requests may use.

The first fields are OpenAI's (https://platform.openai.com/docs/api-reference/models/list), `architecture`,
`supported_parameters` and `context_length` are those that OpenRouter's clients look for, the rest is llama-swap's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import frozen

from llama_swap.config.model import Capabilities, Config, ModelConfig, Selector
from llama_swap.routing.names import Names
from llama_swap.routing.peers import PeerModel

_STATUS = {"ready": "loaded", "starting": "loading"}
"""By state; all other states are `unloaded`."""


@frozen
class Listing:
    """The models and names at one moment, without those that the active profile refuses."""

    _config: Config
    _names: Names
    _states: Mapping[str, str]
    """Of the models that are not stopped."""
    _created: int

    def all(self) -> list[dict[str, Any]]:
        """Return the entries, sorted by id; of two with the same id, the first counts."""
        return sorted(self._entries(hidden=False).values(), key=lambda entry: entry["id"])

    def one(self, name: str) -> dict[str, Any]:
        """Return the entry of any name that requests may use, listed or not.

        @raise NotFound: there is no such name.
        """
        self._names.pinned(name)
        if found := self._entries(hidden=True).get(name):
            return found
        target = self._names.resolve(name).target
        if isinstance(target, PeerModel):
            return self._entry(name, self._of_peer(target), [])
        return self._entry(name, _whole(self._config.models[target.model]), [target.model])

    def _entries(self, *, hidden: bool) -> dict[str, dict[str, Any]]:
        entries: dict[str, dict[str, Any]] = {}
        for id_, fields, stands_for in self._everything(hidden=hidden):
            if id_ not in self._names.refused and id_ not in entries:
                entries[id_] = self._entry(id_, fields, stands_for)
        return entries

    def _entry(self, id_: str, fields: Mapping[str, Any], stands_for: Collection[str]) -> dict[str, Any]:
        states = {self._states.get(self._names.model_id(name) or "") for name in stands_for}
        value = next((status for state, status in _STATUS.items() if state in states), "unloaded")
        own = {"id": id_, "object": "model", "created": self._created, "owned_by": "llama-swap"}
        return {**own, **fields, "status": {"value": value}}

    def _everything(self, *, hidden: bool) -> Iterator[tuple[str, dict[str, Any], Collection[str]]]:
        """Yield each id, its own fields, and the names of the models that it stands for.

        With `hidden`, this includes unlisted models, and aliases even if the configuration does not list them.
        """
        config, names = self._config, self._names
        for model in config.models.values():
            if hidden or not model.unlisted:
                yield model.id, _whole(model), [model.id]
                for alias in model.aliases if hidden or config.include_aliases_in_list else ():
                    if alias not in config.models:
                        yield alias, _model(model, "alias", {"modelID": model.id}), [model.id]
        for id_, selector in config.selectors.items():
            if hidden or not selector.unlisted:
                targets = selector.targets[:1] if selector.strategy == "pin" else selector.targets
                yield id_, _selector(selector), targets
        for remote in names.peers.models():
            yield str(remote), self._of_peer(remote), []
        for id_, pinned in names.pins.items():
            yield id_, _meta("profile"), [] if pinned is None else [pinned]

    def _of_peer(self, remote: PeerModel) -> dict[str, Any]:
        seen = self._names.peers.seen.get(remote.peer)
        reachable = {} if seen is None else {"reachable": seen.answers}
        named = _texts(f"{remote.peer}: {remote.model}", "")
        return named | _meta("peer", {"peerID": remote.peer, **reachable})


def _whole(model: ModelConfig) -> dict[str, Any]:
    return _model(model, "model", {"aliases": list(model.aliases)} if model.aliases else {})


def _model(model: ModelConfig, kind: str, more: Mapping[str, Any]) -> dict[str, Any]:
    told = model.capabilities
    meta = _meta(kind, {**model.metadata, **more})
    if told.context:
        meta["meta"]["n_ctx"] = told.context
    return _texts(model.name, model.description) | abilities(told) | meta


def _selector(selector: Selector) -> dict[str, Any]:
    how: dict[str, Any] = {"strategy": selector.strategy, "targets": list(selector.targets)}
    if selector.strategy == "spillover":
        how["spillover"] = selector.spillover
    return _texts(selector.name, selector.description) | _meta("selector", {**selector.metadata, **how})


def _texts(name: str, description: str) -> dict[str, Any]:
    return {key: text for key, text in (("name", name), ("description", description)) if text}


def _meta(kind: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"meta": {"llamaswap": {**(more or {}), "type": kind}}}


def abilities(told: Capabilities) -> dict[str, Any]:
    """Return the fields for the configured capabilities of a model, without those that are not configured."""
    reads, writes = list(told.in_), list(told.out)
    architecture: dict[str, Any] = {}
    if reads and writes:
        architecture["modality"] = f"{'+'.join(reads)}->{'+'.join(writes)}"
    if reads:
        architecture["input_modalities"] = reads
    if writes:
        architecture["output_modalities"] = writes
    able = {
        "vision": "image" in reads,
        "audio_transcriptions": "audio" in reads and "text" in writes,
        "audio_speech": "text" in reads and "audio" in writes,
        "image_generation": "text" in reads and "image" in writes,
        "image_to_image": "image" in reads and "image" in writes,
        "function_calling": told.tools,
        "reranker": told.reranker,
    }
    fields: dict[str, Any] = {
        "architecture": architecture,
        "capabilities": {name: True for name, is_able in able.items() if is_able},
        "supported_parameters": ["tools", "tool_choice"] if told.tools else [],
        "context_length": told.context,
    }
    return {name: value for name, value in fields.items() if value}
