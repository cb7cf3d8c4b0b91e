"""The JSON Schema of a configuration file, made from the key tables, so that editors complete and check it.

`python -m llama_swap.config.schema` writes it to `docs/config-schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from llama_swap.config.groups import GROUP
from llama_swap.config.keys import MODEL, TOP, Key
from llama_swap.config.kinds import Schema
from llama_swap.config.routing import FIFO, ROUTER, ROUTER_SETTINGS, ROUTING, SCHEDULER, SCHEDULER_SETTINGS

PATH = Path(__file__).parents[2] / "docs" / "config-schema.json"


def schema() -> Schema:
    """Return the schema, in the draft that most editors know."""
    top = _section(TOP)
    model = {**_section(MODEL), "type": "object", "required": ["cmd"]}
    forms = {
        "models": _named({"$ref": "#/definitions/model"}),
        "groups": _named({"$ref": "#/definitions/group"}),
        "routing": _routing(),
    }
    for name, form in forms.items():
        top["properties"][name] |= form
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "llama-swap configuration",
        **top,
        "type": "object",
        "required": ["models"],
        "definitions": {"model": model, "group": _section(GROUP)},
    }


def render() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _routing() -> Schema:
    """Return the form of `routing`, whose sections stand in each other."""
    groups = _named({"$ref": "#/definitions/group"})
    priority = _named({"type": "integer"})
    settings = _section(ROUTER_SETTINGS, groups=groups)
    fifo = _section(SCHEDULER_SETTINGS, fifo=_section(FIFO, priority=priority))
    return _section(ROUTING, router=_section(ROUTER, settings=settings), scheduler=_section(SCHEDULER, settings=fifo))


def _named(form: Schema) -> Schema:
    """Return the form of a mapping of names to values of `form`."""
    return {"type": ["object", "null"], "additionalProperties": form}


def _section(table: Sequence[Key], **forms: Schema) -> Schema:
    """Return the form of a section; `forms` has those of the sections in it."""
    return {
        "type": ["object", "null"],
        "properties": {key.name: {**_property(key), **forms.get(key.name, {})} for key in table},
        "patternProperties": {"^x-|^<<$": {}},
        "additionalProperties": False,
    }


def _property(key: Key) -> Schema:
    default = key.kind.default
    shown = {} if default is None else {"default": key.kind.show(default)}
    return {"description": key.doc, **key.kind.schema(), **shown}


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
