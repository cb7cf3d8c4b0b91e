"""Renders the effective configuration as YAML: macros expanded, ports assigned, secrets masked.

Apart from what is masked, loading the result yields the same configuration.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import yaml

from llama_swap.config.fields import shown
from llama_swap.config.groups import GROUP
from llama_swap.config.keys import MODEL, TOP
from llama_swap.config.masking import masked, masked_members
from llama_swap.config.model import Config, Filters, Group, ModelConfig, Peer, PinProfile, Routing, Selector
from llama_swap.config.peers import PEER
from llama_swap.config.selectors import SELECTOR

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_What = TypeVar("_What")
_Entries: TypeAlias = dict[str, Any]
_Arrange: TypeAlias = Callable[[_Entries, _Entries], _Entries]
"""From the entries of a section and their defaults to the entries to show."""
_MARK: Final = "# defaults:"


def render_effective(config: Config, *, with_defaults: bool = False) -> str:
    """Return `config` as YAML; values that equal the default only `with_defaults`, then below a comment."""
    arrange = _defaults_last if with_defaults else _without_defaults
    document = arrange(_document(config, arrange), _document(Config(models={}), arrange))
    text = str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000))
    return re.sub(rf"(?m)^( *)'{_MARK}': null$", rf"\1{_MARK}", text)


def _without_defaults(entries: _Entries, defaults: _Entries) -> _Entries:
    own = {name: value for name, value in entries.items() if name not in defaults or value != defaults[name]}
    return {
        name: _without_defaults(value, defaults.get(name, {})) if isinstance(value, dict) else value
        for name, value in own.items()
    }


def _defaults_last(entries: _Entries, defaults: _Entries) -> _Entries:
    own = {name: value for name, value in entries.items() if name not in defaults or value != defaults[name]}
    return {**own, _MARK: None, **entries} if own and own.keys() != entries.keys() else entries


def _document(config: Config, arrange: _Arrange) -> _Entries:
    document = dict(shown(TOP, config))
    document["models"] = _each(config.models, _model, ModelConfig(id="", cmd=(), proxy=""), arrange)
    document["selectors"] = _each(config.selectors, _selector, Selector(strategy="", targets=()), arrange)
    document["peers"] = _each(config.peers, _peer, Peer(proxy=""), arrange)
    lists = {name: list(members) for name, members in config.profiles.items()}
    document["profiles"] = lists | _each(config.pin_profiles, _pins, PinProfile(), arrange)
    if config.preload or config.startup_profile:
        profile = {"profile": config.startup_profile} if config.startup_profile else {}
        document["hooks"] = {"on_startup": {"preload": list(config.preload), **profile}}
    if config.routing != Routing():
        document["routing"] = _routing(config.routing, arrange)
    return document


def _each(named: Mapping[str, _What], show: Callable[[_What], _Entries], nothing: _What, arrange: _Arrange) -> _Entries:
    """Return the entries of a section by name; `nothing` is an entry with all defaults."""
    defaults = show(nothing)
    return {name: arrange(show(what), defaults) for name, what in named.items()}


def _routing(routing: Routing, arrange: _Arrange) -> _Entries:
    priority = {"use": "fifo", "settings": {"fifo": {"priority": dict(routing.priority)}}}
    return {"router": _router(routing, arrange), **({"scheduler": priority} if routing.priority else {})}


def _router(routing: Routing, arrange: _Arrange) -> _Entries:
    if (matrix := routing.matrix) is not None:
        sections = {"vars": matrix.variables, "evict_costs": matrix.evict_costs, "sets": matrix.sets}
        return {"use": "matrix", "settings": {"matrix": {name: dict(section) for name, section in sections.items()}}}
    return {"use": "group", "settings": {"groups": _each(routing.groups, _group, Group(), arrange)}}


def _group(group: Group) -> _Entries:
    return {**dict(shown(GROUP, group)), "members": list(group.members)}


def _pins(profile: PinProfile) -> _Entries:
    return {"description": profile.description, "pins": dict(profile.pins)}


def _selector(selector: Selector) -> _Entries:
    settings = {"settings": {"spillover": selector.spillover}} if selector.strategy == "spillover" else {}
    return {**dict(shown(SELECTOR, selector)), "targets": list(selector.targets), **settings}


def _peer(peer: Peer) -> _Entries:
    models = {} if peer.models is None else {"models": list(peer.models)}
    return {**dict(shown(PEER, peer)), **models, **_filters(peer.filters)}


def _model(model: ModelConfig) -> _Entries:
    entry = {"cmd": shlex.join(masked(model.cmd)), "proxy": model.proxy, **dict(shown(MODEL, model))}
    if model.cmd_stop:
        entry["cmdStop"] = shlex.join(masked(model.cmd_stop))
    entry["env"] = masked(entry["env"])
    return {**entry, **_filters(model.filters)}


def _filters(filters: Filters | None) -> _Entries:
    if filters is None:
        return {}
    return {
        "filters": {
            "stripParams": ", ".join(filters.strip_params),
            "setParams": masked_members(filters.set_params),
            "setParamsByID": {name: masked_members(params) for name, params in filters.set_params_by_id.items()},
        }
    }
