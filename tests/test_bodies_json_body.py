"""Which small JSON bodies are read, which are refused, and what changes when the model is replaced."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.json_body import read_model, replace_model
from llama_swap.errors import BadRequest
from tests.support_json import NO_JSON, NO_MODEL, TWO_MODELS, VALID, bodies


class ReadTests(SynchronousTestCase):
    """`read_model` agrees with every JSON parser that an upstream may have, or refuses."""

    def refused(self, body: bytes) -> str:
        """Return why a body is refused."""
        error = self.assertRaises(BadRequest, read_model, body)
        message = str(error)
        message.encode()  # it can be sent
        return message

    def test_valid(self) -> None:
        """The model is the outermost one, however it is spelled and whatever stands beside it."""
        for body, model in VALID.items():
            self.assertEqual(read_model(body), model, body[:60])

    def test_no_json(self) -> None:
        """What is no JSON object in UTF-8, from its first byte to its last, is refused as such."""
        for body in NO_JSON:
            self.assertIn("invalid JSON: ", self.refused(body), body[:60])

    def test_no_model(self) -> None:
        """`model` must be there, and be a string that is not empty, nor has half a character."""
        for body in NO_MODEL:
            self.assertIn("missing or invalid 'model' key", self.refused(body), body)

    def test_two_models(self) -> None:
        """Two are one too many, even if they are equal, or spelled differently."""
        for body in TWO_MODELS:
            self.assertIn("more than one 'model'", self.refused(body), body)

    def test_cut_anywhere(self) -> None:
        """A body that is not all there is refused, wherever it ends."""
        body = '{"x": ["\\ud83d", 1.5e3, {"a": null}], "model": "Größe\\n", "z": true}'.encode()
        for end in range(len(body)):
            self.refused(body[:end])
        self.assertEqual(read_model(body), "Größe\n")

    def test_says_where(self) -> None:
        """The message says where the body goes wrong."""
        self.assertIn("at byte 21", self.refused(b'{"model": "a", "x": "\xff"}'))
        self.assertIn("line 2 column 1", self.refused(b'{"model": "a",\n}'))

    @settings(deadline=None)
    @given(st.binary(max_size=60) | st.text('{}[]":,\\modelu0065 \n', max_size=40).map(str.encode))
    def test_junk(self, body: bytes) -> None:
        """Any bytes are read or refused, and nothing else."""
        try:
            model = read_model(body)
        except BadRequest:
            return
        self.assertEqual(json.loads(body)["model"], model)


class ReplaceTests(SynchronousTestCase):
    """`replace_model` changes the value of `model`, and no other byte."""

    def test_valid(self) -> None:
        """In every body of the table, the other model is read afterwards, and the rest means the same."""
        for body in VALID:
            for model in ("b", 'quo"te\\', "ü\n😀", "x" * 10_000):
                replaced = replace_model(body, model)
                self.assertEqual(read_model(replaced), model, body[:60])
                self.assertEqual(replace_model(replaced, "m"), replace_model(body, "m"), body[:60])

    def test_bytes(self) -> None:
        """Spaces, escapes, numbers and the order of all else stay as they were typed."""
        self.assertEqual(
            replace_model(b'{ "x" : 1.50e+1,\n"mod\\u0065l" : "a\\u0062" ,"y":"\\u0061","z":{"model":"a"} }\n', "new"),
            b'{ "x" : 1.50e+1,\n"mod\\u0065l" : "new" ,"y":"\\u0061","z":{"model":"a"} }\n',
        )

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(bodies(), st.text(min_size=1))
    def test_any_body(self, body: tuple[bytes, bytes, bytes, str], model: str) -> None:
        """In any JSON object, spelled anyhow, only the value changes."""
        before, value, after, old = body
        whole = before + value + after
        self.assertEqual(read_model(whole), old)
        self.assertEqual(replace_model(whole, model), before + json.dumps(model).encode() + after)
