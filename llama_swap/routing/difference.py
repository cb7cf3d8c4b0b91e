"""What a changed configuration means for the models that run.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import evolve, frozen

from llama_swap.config.model import Config, ModelConfig
from llama_swap.scheduling.commands import Target

LIVE: Final = (
    "aliases",
    "name",
    "description",
    "unlisted",
    "ttl",
    "unload_timeout",
    "concurrency_limit",
    "use_model_name",
    "metadata",
    "capabilities",
    "timeouts",
    "disable_keep_alives",
    "compat",
    "filters",
    "send_loading_state",
)
"""What can change while a model runs: its process does not depend on these."""


@frozen
class Difference:
    """The ids of the models in which two configurations differ."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @classmethod
    def between(cls, old: Config, new: Config) -> Difference:
        """Compare model by model; ids are in the order of their file."""
        return cls(
            added=tuple(model for model in new.models if model not in old.models),
            changed=tuple(
                model for model in new.models if model in old.models and new.models[model] != old.models[model]
            ),
            removed=tuple(model for model in old.models if model not in new.models),
        )

    def __str__(self) -> str:
        kinds = {"new": self.added, "changed": self.changed, "removed": self.removed}
        return "; ".join(f"{kind}: {', '.join(models)}" for kind, models in kinds.items() if models) or "same models"


def stale(running: Iterable[ModelConfig], config: Config) -> frozenset[str]:
    """Return the ids of the running models that `config` does not have, or whose process would be another."""
    return frozenset(model.id for model in running if _needs_restart(model, config.models.get(model.id)))


def _needs_restart(running: ModelConfig, wanted: ModelConfig | None) -> bool:
    return wanted is None or running != evolve(wanted, **{name: getattr(running, name) for name in LIVE})


def is_served(target: Target, config: Config) -> bool:
    """Whether `config` still has what a request asked for."""
    members = config.models if target.profile is None else config.profiles.get(target.profile, ())
    return target.model in members
