"""What `/v1/models` lists: models, and other names that requests may use.

The first fields are OpenAI's (https://platform.openai.com/docs/api-reference/models/list), `architecture`,
`supported_parameters` and `context_length` are those that OpenRouter's clients look for, the rest is llama-swap's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from llama_swap.config.model import Capabilities, Config, ModelConfig, Selector
from llama_swap.routing.names import Names
from llama_swap.routing.peers import PeerModel

_STATUS = {"ready": "loaded", "starting": "loading"}
"""By state; all other states are `unloaded`."""
_States = Mapping[str, str]
"""Of the models that are not stopped."""
_Fields = Callable[[], dict[str, Any]]
"""Makes the fields of an entry that are its own."""


class Listing:
    """The models and names, without those that the active profile refuses.

    Of what changes, only the states are asked for each time: the rest is encoded once, which takes long if there are
    thousands of models.
    """

    def __init__(self, config: Config, names: Names, created: int) -> None:
        self._config = config
        self._names = names
        self._created = created
        self._shows = _changeable(config, names)
        self._encoded: list[tuple[str, tuple[str, ...]]] | None = None
        """Each entry without its end, the status, and the models that it stands for."""

    def is_current(self, config: Config, names: Names) -> bool:
        """Whether another listing of these would be the same."""
        return all(then is now for then, now in zip(self._shows, _changeable(config, names), strict=True))

    def all(self, states: _States) -> str:
        """Return the entries as JSON, sorted by id; of two with the same id, the first counts."""
        if self._encoded is None:
            self._encoded = list(self._encode())
        entries = [f'{entry}, "status": {{"value": "{_status(of, states)}"}}}}' for entry, of in self._encoded]
        return f"[{', '.join(entries)}]"

    def one(self, name: str, states: _States) -> dict[str, Any]:
        """Return the entry of any name that requests may use, listed or not.

        @raise NotFound: there is no such name.
        """
        self._names.pinned(name)
        everything = self._everything(hidden=True)
        fields, models = next(((fields, models) for id_, fields, models in everything if id_ == name), (None, ()))
        if fields is None:
            target = self._names.resolve(name).target
            if isinstance(target, PeerModel):
                fields = partial(self._of_peer, target)
            else:
                fields, models = partial(_whole, self._config.models[target.model]), (target.model,)
        return {**self._entry(name, fields), "status": {"value": _status(models, states)}}

    def _encode(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        refused = self._names.refused
        found: dict[str, tuple[_Fields, tuple[str, ...]]] = {}
        for id_, fields, models in self._everything(hidden=False):
            if id_ not in refused:
                found.setdefault(id_, (fields, models))
        for id_, (fields, models) in sorted(found.items(), key=lambda item: item[0]):
            yield json.dumps(self._entry(id_, fields)).removesuffix("}"), models

    def _entry(self, id_: str, fields: _Fields) -> dict[str, Any]:
        return {"id": id_, "object": "model", "created": self._created, "owned_by": "llama-swap", **fields()}

    def _everything(self, *, hidden: bool) -> Iterator[tuple[str, _Fields, tuple[str, ...]]]:
        """Yield each id, its own fields, and the models that it stands for.

        With `hidden`, this includes unlisted models, and aliases even if the configuration does not list them.
        """
        config, names = self._config, self._names
        for model in config.models.values():
            if hidden or not model.unlisted:
                yield model.id, partial(_whole, model), (model.id,)
                for alias in model.aliases if hidden or config.include_aliases_in_list else ():
                    if alias not in config.models:
                        yield alias, partial(_model, model, "alias", {"modelID": model.id}), (model.id,)
        for id_, selector in config.selectors.items():
            if hidden or not selector.unlisted:
                targets = selector.targets[:1] if selector.strategy == "pin" else selector.targets
                yield id_, partial(_selector, selector), self._models(targets)
        for remote in names.peers.models():
            yield str(remote), partial(self._of_peer, remote), ()
        for id_, pinned in names.pins.items():
            yield id_, partial(_meta, "profile"), self._models([] if pinned is None else [pinned])

    def _models(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(model for name in names if (model := self._names.model_id(name)) is not None)

    def _of_peer(self, remote: PeerModel) -> dict[str, Any]:
        seen = self._names.peers.seen.get(remote.peer)
        reachable = {} if seen is None else {"reachable": seen.answers}
        named = _texts(f"{remote.peer}: {remote.model}", "")
        return named | _meta("peer", {"peerID": remote.peer, **reachable})


def _changeable(config: Config, names: Names) -> tuple[object, ...]:
    """Return what a listing is made of, beside states: each is replaced, not changed, when something is new."""
    return config, names, names.peers.configured, names.peers.seen


def _status(models: Iterable[str], states: _States) -> str:
    """Return the status of what stands for these models: of several, the one that came furthest counts."""
    if states.keys().isdisjoint(models):
        return "unloaded"
    found = {states.get(model) for model in models}
    return next((status for state, status in _STATUS.items() if state in found), "unloaded")


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
