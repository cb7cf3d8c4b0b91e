"""The JSON Schema of a configuration file, made from the key tables, with which editors complete and check it.

`python -m llama_swap.config.schema` writes it to `docs/config-schema.json`.
"""

from __future__ import annotations

import json
from pathlib import Path

from llama_swap.config.fields import section_schema
from llama_swap.config.groups import GROUP
from llama_swap.config.keys import MODEL, TOP
from llama_swap.config.kinds import Schema
from llama_swap.config.matrix import MATRIX
from llama_swap.config.names import NameList
from llama_swap.config.peers import PEER
from llama_swap.config.profiles import PINS
from llama_swap.config.routing import FIFO, ROUTER, ROUTER_SETTINGS, ROUTING, SCHEDULER, SCHEDULER_SETTINGS
from llama_swap.config.selectors import SELECTOR, SPILLOVER

PATH = Path(__file__).parents[2] / "docs" / "config-schema.json"


def schema() -> Schema:
    """Return the schema in draft 7, which most editors support."""
    top = section_schema(TOP)
    model = {**section_schema(MODEL), "type": "object", "required": ["cmd"]}
    forms = {
        "models": _named({"$ref": "#/definitions/model"}),
        "groups": _named({"$ref": "#/definitions/group"}),
        "matrix": {"$ref": "#/definitions/matrix"},
        "peers": _named({"$ref": "#/definitions/peer"}),
        "routing": _routing(),
        "selectors": _named({"$ref": "#/definitions/selector"}),
        "profiles": _named({"anyOf": [NameList().schema(), {"$ref": "#/definitions/pins"}]}),
    }
    for name, form in forms.items():
        top["properties"][name] |= form
    pins = section_schema(PINS, pins=_named({"type": ["string", "null"]}))
    selector = section_schema(SELECTOR, settings=section_schema(SPILLOVER))
    definitions = {
        "model": model,
        "group": section_schema(GROUP),
        "matrix": section_schema(MATRIX),
        "selector": selector,
        "pins": pins,
        "peer": {**section_schema(PEER), "type": "object", "required": ["proxy"]},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "llama-swap configuration",
        **top,
        "type": "object",
        "required": ["models"],
        "definitions": definitions,
    }


def render() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _routing() -> Schema:
    """Return the schema of `routing`, with its nested sections."""
    groups = _named({"$ref": "#/definitions/group"})
    priority = _named({"type": "integer"})
    settings = section_schema(ROUTER_SETTINGS, groups=groups, matrix={"$ref": "#/definitions/matrix"})
    fifo = section_schema(SCHEDULER_SETTINGS, fifo=section_schema(FIFO, priority=priority))
    return section_schema(
        ROUTING, router=section_schema(ROUTER, settings=settings), scheduler=section_schema(SCHEDULER, settings=fifo)
    )


def _named(form: Schema) -> Schema:
    """Return the schema of a mapping of names to values that match `form`."""
    return {"type": ["object", "null"], "additionalProperties": form}


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
