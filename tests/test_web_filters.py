"""Bodies as `filters` of a model change them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Filters
from llama_swap.web.filters import filtered

NAMES = st.sampled_from(["a", "b", "model", "x.y", "ü", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


class FilterTests(SynchronousTestCase):
    """`filtered`."""

    def strip(self, body: str, *params: str) -> str:
        """Return a body without these parameters."""
        return filtered(body.encode(), Filters(strip_params=params), "m").decode()

    def set(self, body: str, **params: Any) -> str:
        """Return a body with these parameters, in whose names __ stands for a dot."""
        named = {name.replace("__", "."): value for name, value in params.items()}
        return filtered(body.encode(), Filters(set_params=named), "m").decode()

    def test_strip(self) -> None:
        """A member goes with its comma; every other byte stays, odd ones too."""
        body = '{ "a" : 1.0,\t"b":[1,{"c":2}] , "t\\u0065mp" : "x,}\\"" }'
        self.assertEqual(self.strip(body, "a"), '{ "b":[1,{"c":2}] , "t\\u0065mp" : "x,}\\"" }')
        self.assertEqual(self.strip(body, "temp"), '{ "a" : 1.0,\t"b":[1,{"c":2}] }')
        self.assertEqual(self.strip(body, "b"), '{ "a" : 1.0,\t"t\\u0065mp" : "x,}\\"" }')
        self.assertEqual(self.strip(body, "a", "b", "temp"), "{}")
        self.assertEqual(self.strip(body, "nothing", "b.c", "a.x"), body)

    def test_strip_repeated(self) -> None:
        """A name that stands there twice goes twice."""
        self.assertEqual(self.strip('{"a":1,"b":2,"a":3}', "a"), '{"b":2}')

    def test_strip_deep(self) -> None:
        """Paths lead into objects and lists."""
        self.assertEqual(self.strip('{"o":{"a":1,"b":2},"l":[1,2,3]}', "o.a", "l.1"), '{"o":{"b":2},"l":[1,3]}')

    def test_set(self) -> None:
        """A value is replaced where it stands, or added behind the others."""
        self.assertEqual(self.set('{"a" : 1 , "b":2}', a={"x": None}), '{"a" : {"x": null} , "b":2}')
        self.assertEqual(self.set('{"b":2 }', a="ü"), '{"b":2,"a":"\\u00fc" }')
        self.assertEqual(self.set(" { } ", a=1), ' {"a":1} ')

    def test_set_deep(self) -> None:
        """What is missing on the way is made; what is no object gives way to one."""
        self.assertEqual(self.set('{"k":{"x":1}}', k__y=2), '{"k":{"x":1,"y":2}}')
        self.assertEqual(self.set("{}", k__y__z=True), '{"k":{"y":{"z":true}}}')
        self.assertEqual(self.set('{"k":5}', k__y=2), '{"k":{"y":2}}')
        self.assertEqual(self.set('{"l":[{"r":1},2]}', l__0__r=3, l__1=4, l__2=5, l__9=6), '{"l":[{"r":3},4,5]}')

    def test_escaped_dots(self) -> None:
        """A backslash makes a dot part of a name."""
        self.assertEqual(filtered(b"{}", Filters(set_params={"a\\.b": 1}), "m"), b'{"a.b":1}')

    def test_order(self) -> None:
        """First what is stripped, then what is set for all, then what is set for the name that was asked for."""
        filters = Filters(
            strip_params=("a",), set_params={"a": 1, "b": 1}, set_params_by_id={"m:high": {"b": 2}, "n": {"b": 3}}
        )
        self.assertEqual(filtered(b'{"a":0}', filters, "m:high"), b'{"a":1,"b":2}')
        self.assertEqual(filtered(b'{"a":0}', filters, "m"), b'{"a":1,"b":1}')

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(OBJECTS, NAMES, VALUES, st.sampled_from([None, 1]))
    def test_any(self, body: dict[str, Any], name: str, value: object, indent: int | None) -> None:
        """Whatever the body: what is set is there, what is stripped is not, and the rest is what it was."""
        path = name.replace(".", "\\.")
        text = json.dumps(body, indent=indent).encode()
        self.assertEqual(json.loads(filtered(text, Filters(set_params={path: value}), "")), {**body, name: value})
        rest = {key: kept for key, kept in body.items() if key != name}
        self.assertEqual(json.loads(filtered(text, Filters(strip_params=(path,)), "")), rest)
