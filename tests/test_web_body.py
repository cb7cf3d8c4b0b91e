"""Which bodies are read, which are refused, and what changes when the model is replaced."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import BadRequest
from llama_swap.web.body import read_model, replace_model

VALID: dict[bytes, str] = {
    b'{"model":"a"}': "a",
    b' \t\r\n{ "model"\n:\t"a" }\r\n ': "a",
    b'{"stream":true,"model":"org/a:Q4","n":1}': "org/a:Q4",
    b'{"mod\\u0065l":"a"}': "a",
    b'{"\\u006dodel":"a"}': "a",
    b'{"model":"\\u0061\\/b\\n"}': "a/b\n",
    '{"model":"Größe 😀"}'.encode(): "Größe 😀",
    b'{"model":"\\ud83d\\ude00"}': "😀",
    b'{"model":"\\ud800"}': "\ud800",
    b'{"Model":"b","model":"a","MODEL":"c","model ":"d"}': "a",
    # `model` elsewhere
    b'{"x":{"model":"b"},"model":"a","y":{"model":{"model":"c"}}}': "a",
    b'{"messages":[{"model":"b"},[{"model":"c"}]],"model":"a"}': "a",
    b'{"x":"model","model":"a","y":["model","model"]}': "a",
    b'{"x":"\\"model\\":\\"b\\"","model":"a"}': "a",
    b'{"x":"{[","model":"a","y":"]}\\\\"}': "a",
    b'{"":{},"model":"a","x":{"x":1,"x":2},"x":1}': "a",
    # numbers and strings that other parsers stumble upon
    b'{"x":[1e400,-1e400,1E-999,-0,0.5],"model":"a"}': "a",
    b'{"x":"\\ud800","model":"a","y":"\\udc00\\ud800"}': "a",
    b'{"x":' + b"9" * 100_000 + b',"model":"a"}': "a",
    b'{"x":' + b"[" * 400 + b"]" * 400 + b',"model":"a"}': "a",
    '{"x":"\x7f\u2028\u0000'.replace("\0", "\\u0000").encode() + b'","model":"a"}': "a",
}

NO_JSON: tuple[bytes, ...] = (
    b"",
    b" ",
    b"Hello",
    b'{"model":"a"',
    b'{"model":"a}',
    b'{"model":"a"}}',
    b'{"model":"a"} x',
    b'{"model":"a"}{"model":"a"}',
    b'{"model":"a"}\0',
    b'{"model":"a",}',
    b'{,"model":"a"}',
    b'{"x":[1,],"model":"a"}',
    b'{"model":"a"} // comment',
    b'{/* comment */"model":"a"}',
    b'{"model":"a" # comment\n}',
    b"{'model':'a'}",
    b'{model:"a"}',
    b'{"model" "a"}',
    b'{"model":a}',
    b"model=a",
    # no numbers, and no strings
    b'{"x":NaN,"model":"a"}',
    b'{"x":Infinity,"model":"a"}',
    b'{"x":[-Infinity],"model":"a"}',
    b'{"x":01,"model":"a"}',
    b'{"x":+1,"model":"a"}',
    b'{"x":.5,"model":"a"}',
    b'{"x":1.,"model":"a"}',
    b'{"x":0x1,"model":"a"}',
    b'{"x":1_0,"model":"a"}',
    b'{"x":True,"model":"a"}',
    b'{"x":"\n","model":"a"}',
    b'{"x":"\\x41","model":"a"}',
    b'{"x":"\\u00","model":"a"}',
    b'{"x":"\\u0_41","model":"a"}',
    b'{"x":\x0c1,"model":"a"}',
    b'\xc2\xa0{"model":"a"}',
    # no UTF-8
    b'\xef\xbb\xbf{"model":"a"}',
    '{"model":"a"}'.encode("utf-16"),
    '{"model":"a"}'.encode("utf-16-le"),
    '{"model":"a"}'.encode("utf-16-be"),
    '{"model":"a"}'.encode("utf-32"),
    '{"x":"ß","model":"a"}'.encode("latin-1"),
    b'{"x":"\xed\xa0\x80","model":"a"}',
    b'{"x":"\xc0\xaf","model":"a"}',
    b'{"model":"a","x":"\xff"}',
    b'\x1f\x8b\x08\x00{"model":"a"}',
    # too deep
    b'{"x":' + b"[" * 100_000,
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"model":"a"}',
    b'{"x":' * 100_000 + b"1" + b"}" * 100_000,
    # no object
    b"[]",
    b'[{"model":"a"}]',
    b'"a"',
    b'"model"',
    b"1",
    b"true",
    b"null",
)

NO_MODEL: tuple[bytes, ...] = (
    b"{}",
    b'{"messages":[]}',
    b'{"x":{"model":"a"}}',
    b'{"Model":"a"}',
    b'{"model":null}',
    b'{"model":7}',
    b'{"model":true}',
    b'{"model":["a"]}',
    b'{"model":{"model":"a"}}',
    b'{"model":""}',
)

TWO_MODELS: tuple[bytes, ...] = (
    b'{"model":"a","model":"a"}',
    b'{"model":"a","model":"b"}',
    b'{"model":"a","mod\\u0065l":"b"}',
    b'{"\\u006dodel":"a","x":{},"model":"b"}',
    b'{"model":"a","\\u006D\\u006F\\u0064\\u0065\\u006C":null}',
    b'{"model":1,"model":"a"}',
    b'{"model":"a","x":1,"model":"b","model":"c"}',
)

SPACE = st.text(" \t\r\n", max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("model"), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spelled(draw: Any, value: object) -> str:
    """Write a JSON value with any spaces, and any characters of its strings as escapes."""

    def space() -> str:
        return draw(SPACE)

    def char(char: str) -> str:
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        return draw(
            st.sampled_from([plain, json.dumps(char)[1:-1], *([f"\\u{ord(char):04X}"] if ord(char) < 65536 else [])])
        )

    def write(value: object) -> str:
        if isinstance(value, str):
            return '"' + "".join(map(char, value)) + '"'
        if isinstance(value, list):
            return "[" + ",".join(space() + write(item) + space() for item in value) + space() + "]"
        if isinstance(value, dict):
            return "{" + ",".join(member(*item) for item in value.items()) + space() + "}"
        return json.dumps(value)

    def member(key: str, value: object) -> str:
        return space() + write(key) + space() + ":" + space() + write(value) + space()

    return space() + write(value) + space()


@st.composite
def bodies(draw: Any) -> tuple[bytes, bytes, bytes, str]:
    """Return a body in three parts, of which the middle is the value of `model`, and the model."""
    others = draw(st.dictionaries(st.text().filter(lambda key: key != "model"), JSON, max_size=4))
    members = [f"{draw(spelled(key))}:{draw(spelled(value))}" for key, value in others.items()]
    before = draw(st.integers(0, len(members)))
    model = draw(st.text(min_size=1))
    lead, key, colon = draw(SPACE), draw(spelled("model")), f":{draw(SPACE)}"
    value = draw(spelled(model)).strip(" \t\r\n")
    start = ",".join([*members[:before], ""])
    end = "".join(f",{member}" for member in members[before:])
    return f"{lead}{{{start}{key}{colon}".encode(), value.encode(), f"{draw(SPACE)}{end}}}{lead}".encode(), model


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
        """`model` must be there, and be a string that is not empty."""
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
