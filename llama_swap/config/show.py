"""The effective configuration as YAML: macros expanded, defaults filled in, secrets masked.

It can be loaded again, and then says the same, but for what is masked.  Defaults stand below the rest.
"""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from llama_swap.config.fields import shown
from llama_swap.config.groups import GROUP
from llama_swap.config.keys import MODEL, TOP
from llama_swap.config.masking import masked, masked_members
from llama_swap.config.model import Config, Filters, ModelConfig, Peer, Routing, Selector
from llama_swap.config.peers import PEER
from llama_swap.config.selectors import SELECTOR

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def render_effective(config: Config) -> str:
    """Return `config` as YAML, for people to read and to compare."""
    document = _defaults_last(_document(config), _document(Config(models={})))
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000))


def _document(config: Config) -> dict[str, Any]:
    document = dict(shown(TOP, config))
    defaults = _model(ModelConfig(id="", cmd=(), proxy=""))
    document["models"] = {model.id: _defaults_last(_model(model), defaults) for model in config.models.values()}
    document["selectors"] = {name: _selector(selector) for name, selector in config.selectors.items()}
    document["peers"] = {name: _peer(peer) for name, peer in config.peers.items()}
    document["profiles"] = {name: list(members) for name, members in config.profiles.items()}
    for name, profile in config.pin_profiles.items():
        document["profiles"][name] = {"description": profile.description, "pins": dict(profile.pins)}
    if config.preload or config.startup_profile:
        document["hooks"] = {"on_startup": {"preload": list(config.preload), "profile": config.startup_profile}}
    if config.routing != Routing():
        document["routing"] = _routing(config.routing)
    return document


def _defaults_last(entries: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(entries.items(), key=lambda entry: entry in defaults.items()))


def _routing(routing: Routing) -> dict[str, Any]:
    return {
        "router": _router(routing),
        "scheduler": {"use": "fifo", "settings": {"fifo": {"priority": dict(routing.priority)}}},
    }


def _router(routing: Routing) -> dict[str, Any]:
    if (matrix := routing.matrix) is not None:
        sections = {"vars": matrix.variables, "evict_costs": matrix.evict_costs, "sets": matrix.sets}
        return {"use": "matrix", "settings": {"matrix": {name: dict(section) for name, section in sections.items()}}}
    groups = {
        name: {**dict(shown(GROUP, group)), "members": list(group.members)} for name, group in routing.groups.items()
    }
    return {"use": "group", "settings": {"groups": groups}}


def _selector(selector: Selector) -> dict[str, Any]:
    settings = {"settings": {"spillover": selector.spillover}} if selector.strategy == "spillover" else {}
    return {**dict(shown(SELECTOR, selector)), "targets": list(selector.targets), **settings}


def _peer(peer: Peer) -> dict[str, Any]:
    models = {} if peer.models is None else {"models": list(peer.models)}
    return {**dict(shown(PEER, peer)), **models, **_filters(peer.filters)}


def _model(model: ModelConfig) -> dict[str, Any]:
    entry = {"cmd": shlex.join(masked(model.cmd)), "proxy": model.proxy, **dict(shown(MODEL, model))}
    if model.cmd_stop:
        entry["cmdStop"] = shlex.join(masked(model.cmd_stop))
    entry["env"] = masked(entry["env"])
    return {**entry, **_filters(model.filters)}


def _filters(filters: Filters | None) -> dict[str, Any]:
    if filters is None:
        return {}
    return {
        "filters": {
            "stripParams": ", ".join(filters.strip_params),
            "setParams": masked_members(filters.set_params),
            "setParamsByID": {name: masked_members(params) for name, params in filters.set_params_by_id.items()},
        }
    }
