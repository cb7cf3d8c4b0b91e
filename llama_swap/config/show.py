"""The effective configuration as YAML: macros expanded, defaults filled in, secrets masked.

It can be loaded again, and then says the same, but for what is masked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from llama_swap.config.groups import GROUP
from llama_swap.config.keys import MODEL, TOP, Key
from llama_swap.config.kinds import Section
from llama_swap.config.masking import masked
from llama_swap.config.model import Config, Group, ModelConfig, Routing

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def render_effective(config: Config) -> str:
    """Return `config` as YAML, for people to read and to compare."""
    document = dict(_shown(TOP, config))
    document["models"] = {model.id: _model(model) for model in config.models.values()}
    document["profiles"] = {name: list(members) for name, members in config.profiles.items()}
    if config.routing != Routing():
        document["routing"] = _routing(config.routing)
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000))


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
        name: {**dict(_shown(GROUP, group)), "members": list(group.members)} for name, group in routing.groups.items()
    }
    return {"use": "group", "settings": {"groups": groups}}


def _model(model: ModelConfig) -> dict[str, Any]:
    shown = {"cmd": shlex.join(masked(model.cmd)), "proxy": model.proxy, **dict(_shown(MODEL, model))}
    if model.cmd_stop:
        shown["cmdStop"] = shlex.join(masked(model.cmd_stop))
    shown["env"] = masked(shown["env"])
    return shown


def _shown(table: Sequence[Key], values: Config | ModelConfig | Group) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the keys that are set, by the file or by default, but for sections."""
    for key in table:
        if hasattr(values, key.attribute) and not isinstance(key.kind, Section):
            shown = key.kind.show(getattr(values, key.attribute))
            if shown is not None:
                yield key.name, shown
