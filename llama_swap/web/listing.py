"""What `/v1/models` lists: models, and other names that requests may use.

The first fields are OpenAI's (https://platform.openai.com/docs/api-reference/models/list), `architecture`,
`supported_parameters` and `context_length` are those that OpenRouter's clients look for, the rest is llama-swap's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from llama_swap.config.model import Capabilities, Config, ModelConfig, Selector
from llama_swap.routing.names import Names


def listing(config: Config, names: Names, up: Collection[str], created: int) -> list[dict[str, Any]]:
    """Return the entries by id; `up` are the ids of the models that are ready, or coming.

    What is unlisted, or refused by the active profile, is not there; of two entries with one id the first counts.
    """
    entries: dict[str, dict[str, Any]] = {}
    for id_, fields, stands_for in _everything(config, names):
        if id_ not in names.refused and id_ not in entries:
            is_up = any(names.model_id(name) in up for name in stands_for)
            status = {"value": "loaded" if is_up else "unloaded"}
            own = {"id": id_, "object": "model", "created": created, "owned_by": "llama-swap"}
            entries[id_] = {**own, **fields, "status": status}
    return sorted(entries.values(), key=lambda entry: entry["id"])


def _everything(config: Config, names: Names) -> Iterator[tuple[str, dict[str, Any], Collection[str]]]:
    """Yield each id, its own fields, and the names of models that it stands for."""
    for model in config.models.values():
        if not model.unlisted:
            aliases = {"aliases": list(model.aliases)} if model.aliases else {}
            yield model.id, _model(model, "model", aliases), [model.id]
            for alias in model.aliases if config.include_aliases_in_list else ():
                if alias not in config.models:
                    yield alias, _model(model, "alias", {"modelID": model.id}), [model.id]
    for id_, selector in config.selectors.items():
        if not selector.unlisted:
            yield id_, _selector(selector), selector.targets[:1] if selector.strategy == "pin" else selector.targets
    for remote in names.peers.models():
        seen = names.peers.seen.get(remote.peer)
        reachable = {} if seen is None else {"reachable": seen.answers}
        named = _texts(f"{remote.peer}: {remote.model}", "")
        yield str(remote), named | _meta("peer", {"peerID": remote.peer, **reachable}), []
    for id_, pinned in names.pins.items():
        yield id_, _meta("profile"), [] if pinned is None else [pinned]


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
    """Return what is told of what a model can do; nothing of what is not told."""
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
