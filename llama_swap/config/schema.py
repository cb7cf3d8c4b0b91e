"""The JSON Schema of a configuration file, made from the key tables, so that editors complete and check it.

`python -m llama_swap.config.schema` writes it to `docs/config-schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from llama_swap.config.keys import MODEL, TOP, Key
from llama_swap.config.kinds import Schema

PATH = Path(__file__).parents[2] / "docs" / "config-schema.json"


def schema() -> Schema:
    """Return the schema, in the draft that most editors know."""
    top = _section(TOP)
    model = {**_section(MODEL), "required": ["cmd"]}
    top["properties"]["models"] = {
        **top["properties"]["models"],
        "type": ["object", "null"],
        "additionalProperties": {"$ref": "#/definitions/model"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "llama-swap configuration",
        **top,
        "required": ["models"],
        "definitions": {"model": model},
    }


def render() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _section(table: Sequence[Key]) -> Schema:
    return {
        "type": "object",
        "properties": {key.name: _property(key) for key in table},
        "patternProperties": {"^x-|^<<$": {}},
        "additionalProperties": False,
    }


def _property(key: Key) -> Schema:
    default = key.kind.default
    shown = {} if default is None else {"default": key.kind.show(default)}
    return {"description": key.doc, **key.kind.schema(), **shown}


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
