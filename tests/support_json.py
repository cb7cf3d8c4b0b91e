"""JSON bodies: which are read, which are refused, and any number of made-up ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

VALID: dict[bytes, str] = {
    b'{"model":"a"}': "a",
    b' \t\r\n{ "model"\n:\t"a" }\r\n ': "a",
    b'{"stream":true,"model":"org/a:Q4","n":1}': "org/a:Q4",
    b'{"mod\\u0065l":"a"}': "a",
    b'{"\\u006dodel":"a"}': "a",
    b'{"model":"\\u0061\\/b\\n"}': "a/b\n",
    '{"model":"Größe 😀"}'.encode(): "Größe 😀",
    b'{"model":"\\ud83d\\ude00"}': "😀",
    b'{"Model":"b","model":"a","MODEL":"c","model ":"d"}': "a",
    # `model` elsewhere
    b'{"x":{"model":"b"},"model":"a","y":{"model":{"model":"c"}}}': "a",
    b'{"messages":[{"model":"b"},[{"model":"c"}]],"model":"a"}': "a",
    b'{"x":"model","model":"a","y":["model","model"]}': "a",
    b'{"x":"model","y":"b","model":"a"}': "a",
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
    b'{"model":"\\ud800"}',
    b'{"model":"p/a\\udfff\\ud83d"}',
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


def packets(body: bytes, *sizes: int) -> list[bytes]:
    """Return a body in packets of these sizes, the last of which is repeated."""
    cut, start = [], 0
    while start < len(body):
        size = sizes[min(len(cut), len(sizes) - 1)]
        cut.append(body[start : start + size])
        start += size
    return cut


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
