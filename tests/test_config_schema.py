"""What is written about the keys: the JSON Schema, the example and the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

from llama_swap.config.keys import MODEL, TOP
from llama_swap.config.schema import PATH, render
from tests.support_config import FindingsTestCase, load

ROOT = Path(__file__).parents[1]
EXAMPLE = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


class SchemaTests(FindingsTestCase):
    """docs/config-schema.json."""

    def test_up_to_date(self) -> None:
        """The file is what `python -m llama_swap.config.schema` writes."""
        self.assertEqual(PATH.read_text(encoding="utf-8"), render())

    def test_has_every_key(self) -> None:
        """Editors know every key, what it means and what it is without a value."""
        schema = json.loads(render())
        for table, properties in ((TOP, schema["properties"]), (MODEL, schema["definitions"]["model"]["properties"])):
            self.assertEqual(list(properties), [key.name for key in table])
            for key in table:
                self.assertEqual(properties[key.name]["description"], key.doc)
        self.assertEqual(schema["properties"]["healthCheckTimeout"]["default"], 120)
        self.assertEqual(schema["properties"]["models"]["additionalProperties"], {"$ref": "#/definitions/model"})


class DocumentationTests(FindingsTestCase):
    """config.example.yaml and docs/configuration.md."""

    def test_example_loads(self) -> None:
        """The example has nothing that needs a warning, nor anything left to guess."""
        loaded = load(EXAMPLE)
        self.assertEqual((loaded.warnings, loaded.notes), ((), ()))

    def test_example_has_every_key(self) -> None:
        """Each key is in the example, at its place; behind a # if it excludes others, or is nobody else's choice."""
        for table, indent in ((TOP, ""), (MODEL, "    ")):
            for key in table:
                self.assertRegex(EXAMPLE, rf"(?m)^(?:# )?{indent}{key.name}:", key.name)

    def test_example_decides_nothing(self) -> None:
        """A copy asks nobody for a key that he did not choose, and neither asks other machines nor loads a model."""
        config = load(EXAMPLE).config
        self.assertEqual((config.api_keys, config.peers, config.preload), ((), {}, ()))

    def test_what_stands_behind_a_number_sign(self) -> None:
        """What is commented out works when the sign is taken away."""
        sections = [text for text in re.findall(r"(?m)^# \w+:\n(?:#   .*\n)+", EXAMPLE) if "matrix:" not in text]
        text = EXAMPLE + "".join(re.sub("(?m)^# ", "", section) for section in sections)
        loaded = load(text, WORKSTATION_KEY="sk-1")
        self.assertEqual((len(sections), loaded.warnings), (4, ()))
        self.assertEqual((len(loaded.config.api_keys), loaded.config.preload), (2, ("nomic-embed",)))

    def test_manual_has_every_key(self) -> None:
        """Each key has a section of its own."""
        top, _, model = MANUAL.partition("\n## Keys of a model\n")
        for table, part in ((TOP, top), (MODEL, model)):
            for key in table:
                self.assertIn(f"\n### `{key.name}`\n", part)
