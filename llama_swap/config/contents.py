"""Summarizes a configuration in a few words, for log lines: `2 models, 1 peer`."""

from __future__ import annotations

from llama_swap.config.model import Config


def contents(config: Config) -> str:
    """Return the number of models, profiles, groups, selectors and peers as text."""
    numbers = counted(
        model=len(config.models),
        profile=len(config.profiles) + len(config.pin_profiles),
        group=len(config.routing.groups),
        selector=len(config.selectors),
        peer=len(config.peers),
    )
    return numbers or "no models"


def counted(**numbers: int) -> str:
    """Return the numbers with their nouns, zeros left out: `2 models, 1 peer`."""
    return ", ".join(f"{number} {what}{'s' * (number > 1)}" for what, number in numbers.items() if number)
