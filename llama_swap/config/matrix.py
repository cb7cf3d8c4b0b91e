"""Reads the matrix: expressions that say which models may run together, and the costs of unloading models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from attrs import define, field

from llama_swap.config.expressions import Budget, ExpressionError, Meaning, ModelSets, combinations
from llama_swap.config.fields import Key, read_keys
from llama_swap.config.kinds import Section, Text
from llama_swap.config.macros import Scope
from llama_swap.config.model import Matrix
from llama_swap.config.quantities import Whole
from llama_swap.config.references import Known
from llama_swap.config.tree import Findings, MapNode, Node, Scalar

_COST: Final = Whole(1, least=1)
_VARIABLE = re.compile(r"[a-zA-Z0-9.-]{1,32}")

_TEXTS: Final = {"type": ["object", "null"], "additionalProperties": Text().schema()}
_NUMBERS: Final = {"type": ["object", "null"], "additionalProperties": _COST.schema()}

MATRIX: Final = (
    Key("vars", Section(_TEXTS), "Short names for models, to be used in the expressions."),
    Key("evict_costs", Section(_NUMBERS), "What it costs to unload a model; 1 for those that are not here."),
    Key("sets", Section(_TEXTS), "Models that may run together: expressions with &, |, ( ) and +, by name."),
)


def read_matrix(section: Node, known: Known, scope: Scope) -> Matrix:
    """Return the matrix; `section` is not null."""
    found = scope.found
    if not isinstance(section, MapNode):
        found.error(section, f"must be a mapping with `sets`, not {section.summary}")
        return Matrix()
    values = read_keys(section, MATRIX, scope.expand, found)
    variables = _variables(_entries(values["vars"], scope), known, found)
    names = {**known.names, **variables}
    costs = _costs(_entries(values["evict_costs"], scope), names, known, found)
    sets = _Sets(_entries(values["sets"], scope), names, found)
    together: dict[frozenset[str], None] = {}
    for name, node in sets.nodes.items():
        for models in sets.combinations(name):
            together[models] = None
            known.warn_of_shared_addresses(models, node, found)
    texts = {name: node.text for name, node in sets.nodes.items() if isinstance(node, Scalar)}
    return Matrix(variables=variables, evict_costs=costs, sets=texts, combinations=tuple(together))


def _entries(section: Node | None, scope: Scope) -> dict[str, Node]:
    """Return the entries of a mapping by name, with macros expanded."""
    if section is None or section.is_empty:
        return {}
    if isinstance(section, MapNode):
        return {name: scope.expand(node) for name, node in section.entries.items()}
    scope.found.error(section, f"must be a mapping, not {section.summary}")
    return {}


def _variables(nodes: Mapping[str, Node], known: Known, found: Findings) -> dict[str, str]:
    variables = {}
    for name, node in nodes.items():
        if not _VARIABLE.fullmatch(name):
            found.error(node, "the name of a variable has 1 to 32 letters, digits, dots and dashes")
        elif (model := known.model(node, found)) is not None:
            variables[name] = model
    return variables


def _costs(nodes: Mapping[str, Node], names: Mapping[str, str], known: Known, found: Findings) -> dict[str, int]:
    costs = {}
    for name, node in nodes.items():
        if name in names:
            costs[names[name]] = _COST.read(node, found)
        else:
            found.error(node, f"there is no variable of that name, and {known.unknown(name)}")
    return costs


@define
class _Sets:
    """The expressions by name, each evaluated once, when it is first needed."""

    nodes: Mapping[str, Node]
    _names: Mapping[str, str]
    """From variables, ids and aliases to ids."""
    _found: Findings
    _budget: Budget = field(factory=Budget)
    _read: dict[str, ModelSets] = field(factory=dict)
    _reading: list[str] = field(factory=list)

    def combinations(self, name: str) -> ModelSets:
        """Return the combinations that the set `name` stands for; report an error in it once."""
        if name not in self._read:
            self._reading.append(name)
            try:
                self._read[name] = self._combinations(self.nodes[name])
            finally:
                self._reading.pop()
        return self._read[name]

    def _combinations(self, node: Node) -> ModelSets:
        if not isinstance(node, Scalar):
            self._found.error(node, f"must be an expression, such as `a & (b | c)`, not {node.summary}")
        elif not self._budget.is_spent:
            try:
                return combinations(node.text, Meaning(self._model, self._referred), self._budget)
            except ExpressionError as error:
                self._found.error(node, str(error))
        return ()

    def _model(self, name: str) -> str:
        if name not in self._names:
            close = get_close_matches(name, self._names, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            reference = f"; write +{name} for the set" if name in self.nodes else ""
            raise ExpressionError(f"there is no model, alias or variable {name!r}{reference or meant}")
        return self._names[name]

    def _referred(self, name: str) -> ModelSets:
        if name not in self.nodes:
            raise ExpressionError(f"there is no set {name!r}")
        if name in self._reading:
            circle = " -> ".join([*self._reading[self._reading.index(name) :], name])
            raise ExpressionError(f"circular reference detected involving set {name!r}: {circle}")
        return self.combinations(name)
