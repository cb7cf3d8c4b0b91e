"""The effective configuration as YAML: macros expanded, defaults filled in, secrets masked.

It can be loaded again, and then says the same, but for what is masked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from llama_swap.config.keys import MODEL, TOP, Key
from llama_swap.config.kinds import Section
from llama_swap.config.model import Config, ModelConfig

MASK: Final = "***"

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NAME = r"(?<![\w-])[\w-]*(?:key|token|secret|password|passwd|passphrase|credentials?|bearer)"
_SECRET_OPTION = re.compile(rf"{_NAME}|-hft", re.IGNORECASE)
_ASSIGNED = re.compile(rf"((?:--env=)?{_NAME}=).+", re.IGNORECASE | re.DOTALL)
_WITHIN = re.compile(rf"({_NAME}[\"']?(?:\s*[=:]\s*|\s+)[\"']?)[^\s\"']+", re.IGNORECASE)


def render_effective(config: Config) -> str:
    """Return `config` as YAML, for people to read and to compare."""
    document = dict(_shown(TOP, config))
    document["models"] = {model.id: _model(model) for model in config.models.values()}
    document["profiles"] = {name: list(members) for name, members in config.profiles.items()}
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000))


def masked(words: Sequence[str]) -> list[str]:
    """Return an argument vector with what looks like a secret replaced by `***`."""
    result: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if _SECRET_OPTION.fullmatch(before):
            result.append(MASK)
        elif assigned := _ASSIGNED.fullmatch(word):
            result.append(assigned[1] + MASK)
        else:
            result.append(_WITHIN.sub(rf"\1{MASK}", word))
    return result


def _model(model: ModelConfig) -> dict[str, Any]:
    shown = {"cmd": shlex.join(masked(model.cmd)), "proxy": model.proxy, **dict(_shown(MODEL, model))}
    shown["env"] = masked(shown["env"])
    return shown


def _shown(table: Sequence[Key], values: Config | ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the keys that `values` has, but for sections."""
    for key in table:
        if hasattr(values, key.attribute) and not isinstance(key.kind, Section):
            yield key.name, key.kind.show(getattr(values, key.attribute))
