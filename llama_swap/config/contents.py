"""How much there is in a configuration, in a few words."""

from __future__ import annotations

from llama_swap.config.model import Config


def contents(config: Config) -> str:
    """Return what there is of each kind."""
    numbers = counted(
        model=len(config.models),
        profile=len(config.profiles) + len(config.pin_profiles),
        group=len(config.routing.groups),
        selector=len(config.selectors),
        peer=len(config.peers),
    )
    return numbers or "no models"


def counted(**numbers: int) -> str:
    """Return how many there are of what, without that of which there is none: `2 models, 1 peer`."""
    return ", ".join(f"{number} {what}{'s' * (number > 1)}" for what, number in numbers.items() if number)
