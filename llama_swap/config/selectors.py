"""Reads `selectors`: names that stand for one of several models, chosen anew for each request."""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final

from llama_swap.config.fields import Key, read_keys
from llama_swap.config.kinds import Choice, Flag, Section, Text
from llama_swap.config.macros import Scope
from llama_swap.config.model import Routing, Selector
from llama_swap.config.names import NameList, named_settings, read_names
from llama_swap.config.quantities import Whole
from llama_swap.config.references import Known
from llama_swap.config.tree import MapNode, Node
from llama_swap.config.values import Values

SPILLOVER: Final = (Key("spillover", Whole(1, "requests", least=1), "Requests at a time before the next one wakes."),)

SELECTOR: Final = (
    Key("strategy", Choice(("warm", "pin", "spillover")), "How the model is chosen."),
    Key("targets", Section(NameList().schema()), "The models to choose from, the preferred one first."),
    Key("settings", Section({"type": ["object", "null"]}), "What the strategy needs to know."),
    Key("name", Text(), "A name for people to read."),
    Key("description", Text(), "A text for people to read."),
    Key("unlisted", Flag(), "Leave it out of the lists of models."),
    Key("metadata", Values(), "Whatever clients are to be told about it."),
)


def read_selectors(section: Node | None, known: Known, routing: Routing, scope: Scope) -> dict[str, Selector]:
    """Return the selectors by name."""
    entries = dict(named_settings(section, "selector", "`strategy` and `targets`", scope.found))
    selectors = {}
    for name, node in entries.items():
        if known.reaches(name):
            scope.found.error(node, f"the name {name!r} is that of a model already")
        else:
            selectors[name] = _selector(node, known, entries.keys(), routing, scope)
    return selectors


def _selector(node: MapNode, known: Known, selectors: Set[str], routing: Routing, scope: Scope) -> Selector:
    found = scope.found
    values = read_keys(node, SELECTOR, scope.expand, found)
    if (written := node.entries.get("strategy")) is None or written.is_null:
        found.error(written or node, "must have a `strategy`: warm, pin or spillover")
    settings = values.pop("settings")
    if isinstance(settings, MapNode):
        values |= read_keys(settings, SPILLOVER, scope.expand, found)
    elif settings is not None and not settings.is_empty:
        found.error(settings, f"must be a mapping with `spillover`, not {settings.summary}")
    values["targets"] = _targets(node, values["targets"], known, selectors, scope)
    models = [known.names[target] for target in values["targets"] if target in known.names]
    if values["strategy"] == "spillover" and not _may_run_together(models, routing):
        remedy = "put them into one group with `swap: false`, or into one set of the matrix"
        found.error(node.entries.get("targets", node), f"{', '.join(models)} cannot all run together; {remedy}")
    return Selector(**values)


def _may_run_together(models: Collection[str], routing: Routing) -> bool:
    """Whether one group or one combination contains all of `models`, so that they can be loaded at the same time."""
    if len(models) < 2:
        return True
    if routing.matrix is not None:
        return any(together.issuperset(models) for together in routing.matrix.combinations)
    return any(not group.swap and set(models) <= set(group.members) for group in routing.groups.values())


def _targets(selector: MapNode, node: Node | None, known: Known, selectors: Set[str], scope: Scope) -> tuple[str, ...]:
    found, targets = scope.found, []
    for target in read_names(scope.expand(node), found) if node is not None else []:
        if known.reaches(target.text):
            targets.append(target.text)
        elif target.text in selectors:
            found.error(target, f"{target.text!r} is a selector; a target must be a model")
        else:
            found.error(target, known.unknown(target.text))
    if node is None or node.is_empty:
        found.error(node or selector, "must have `targets`, a list of models to choose from")
    return tuple(targets)
