"""The matrix: all the combinations of models that may run together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attrs import define, field

from llama_swap.scheduling.commands import Plan, Target


@define
class Combinations:
    """Evicts at the lowest cost, so that the target and all models that stay are part of one combination.

    At equal costs, the combination defined first wins.  A target in no combination runs alone.
    """

    combinations: Sequence[frozenset[str]]
    costs: Mapping[str, int]
    """The cost of evicting a model; 1 for those that are not here."""
    _bits: dict[str, int] = field(init=False)
    """A bit for each model, so that sets of them are numbers: a plan may look at thousands of combinations."""
    _dear: list[tuple[int, int]] = field(init=False)
    """For each cost above 1: by how much it is above, and the bits of the models that have it."""
    _with: dict[str, list[int]] = field(init=False)
    """For each model, the combinations that it is in."""

    def __attrs_post_init__(self) -> None:
        models = dict.fromkeys(model for together in self.combinations for model in together)
        self._bits = {model: 1 << number for number, model in enumerate(models)}
        dear: defaultdict[int, int] = defaultdict(int)
        for model, bit in self._bits.items():
            dear[self.costs.get(model, 1) - 1] |= bit
        self._dear = [(more, models) for more, models in dear.items() if more]
        self._with = {model: [] for model in models}
        for together in self.combinations:
            number = self._number(together)
            for model in together:
                self._with[model].append(number)

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """See `Policy.plan`."""
        others = running - {target.model}
        alive = self._number(others)
        ways = dict.fromkeys(alive & ~together for together in self._with.get(target.model, ()))
        if not ways:
            return Plan(others)
        gone = min(ways, key=self._cost)
        return Plan(frozenset(model for model in others if model not in self._bits or self._bits[model] & gone))

    def _number(self, models: frozenset[str]) -> int:
        return sum(self._bits.get(model, 0) for model in models)

    def _cost(self, gone: int) -> int:
        cost = gone.bit_count()
        for more, models in self._dear:
            cost += more * (gone & models).bit_count()
        return cost
