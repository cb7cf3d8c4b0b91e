"""Bodies as `filters` of a model change them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies import spool
from llama_swap.bodies.body import LargeBody, Named, read_body
from llama_swap.bodies.filters import AT_ONCE, apply, takes_long
from llama_swap.bodies.json_edit import MOST_INSIDE, JsonEdit
from llama_swap.bodies.json_outline import MOST_MEMBERS
from llama_swap.bodies.json_scan import outline_of
from llama_swap.bodies.spool import edited
from llama_swap.config.model import IF_ABSENT, Filters
from llama_swap.errors import BadRequest
from llama_swap.http.headers import Body
from llama_swap.web.loading import wants_stream
from tests.support_json import packets, spelled

NAMES = st.sampled_from(["a", "b", "model", "x.y", "ü", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


class Object(dict[str, Any]):
    """An object as it is written: a name may be there more than once."""

    def __init__(self, members: Iterable[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.members = list(members)

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]  # repeated ones included
        """Return the members."""
        return self.members

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Object) and self.members == other.members

    __hash__ = None  # type: ignore[assignment]


PATHS = st.lists(st.sampled_from(["a", "b", "stream", "x\\.y", "ü", "0", "1", "-1"]), min_size=1, max_size=3).map(
    ".".join
)
PUT = PATHS | PATHS.map(lambda path: path + IF_ABSENT)
KEYS = st.sampled_from(["a", "b", "stream", "x.y", "ü", "0", '\t"{é'])
PLAIN = st.sampled_from([True, False, None, 1, "", "ü]", 'true"'])
WRITTEN = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(Object),
    max_leaves=12,
)
ANY_FILTERS = st.builds(
    Filters,
    strip_params=st.lists(PATHS, max_size=2).map(tuple),
    set_params=st.dictionaries(PUT, WRITTEN, max_size=3),
    set_params_by_id=st.dictionaries(st.sampled_from(["m", "n"]), st.dictionaries(PUT, PLAIN, max_size=2)),
)


@st.composite
def requests(draw: Any) -> bytes:
    """Return a request for the model m."""
    members = draw(st.lists(st.tuples(KEYS, WRITTEN), max_size=6))
    at = draw(st.integers(0, len(members)))
    written: str = draw(spelled(Object([*members[:at], ("model", "m"), *members[at:]])))
    return written.encode("utf-8")


def parsed(text: bytes) -> Any:
    """Return a JSON value with all its members."""
    return json.loads(text, object_pairs_hook=Object)


def plainly_stripped(value: Any, path: list[str]) -> Any:
    """Do what `stripParams` does, the plain way."""
    name, *rest = path
    if isinstance(value, Object):
        kept = [(key, inner) for key, inner in value.members if rest or key != name]
        return Object([(key, plainly_stripped(inner, rest) if key == name else inner) for key, inner in kept])
    if isinstance(value, list):
        kept = [(str(index), inner) for index, inner in enumerate(value) if rest or str(index) != name]
        return [plainly_stripped(inner, rest) if index == name else inner for index, inner in kept]
    return value


def plainly_set(value: Any, path: list[str], new: Any) -> Any:
    """Do what `setParams` does, the plain way."""
    if not path:
        return parsed(json.dumps(new).encode())
    name, *rest = path
    if isinstance(value, list):
        kept = list(value)
        if name in ("-1", str(len(value))):
            kept.append(plainly_set(None, rest, new))
        elif name in map(str, range(len(value))):
            kept[int(name)] = plainly_set(value[int(name)], rest, new)
        return kept
    members = list(value.members) if isinstance(value, Object) else []
    last = max((place for place, (key, _) in enumerate(members) if key == name), default=None)
    if last is None:
        return Object([*members, (name, plainly_set(None, rest, new))])
    members[last] = (name, plainly_set(members[last][1], rest, new))
    return Object(members)


def plainly_has(value: Any, path: list[str]) -> bool:
    """Whether there is anything at a path."""
    for name in path:
        if isinstance(value, list) and name in map(str, range(len(value))):
            value = value[int(name)]
        elif isinstance(value, Object) and name in value:
            value = next(inner for key, inner in reversed(value.members) if key == name)
        else:
            return False
    return True


def plainly(value: Any, filters: Filters, name: str) -> Any:
    """Do what filters do, the plain way."""

    def names(path: str) -> list[str]:
        return [name.replace("\0", ".") for name in path.replace("\\.", "\0").split(".")]

    for path in filters.strip_params:
        value = plainly_stripped(value, names(path))
    for params in (filters.set_params, filters.set_params_by_id.get(name, {})):
        for path, new in params.items():
            way = names(path.removesuffix(IF_ABSENT))
            if not (path.endswith(IF_ABSENT) and plainly_has(value, way)):
                value = plainly_set(value, way, new)
    return value


def filtered(body: bytes, filters: Filters, name: str = "m") -> bytes:
    """Return a JSON object as a model with `filters` gets it, if it was asked for by `name`."""
    edit = JsonEdit(outline_of(body), lambda start, end: body[start:end])
    apply(filters, name, edit)
    return edited(body, edit.edits())


def passed(named: Named[bytes | Body], filters: Filters) -> bytes | Body:
    """Return a request as a model with `filters` gets it."""
    parameters = named.parameters()
    assert parameters is not None
    apply(filters, named.model, parameters)
    return named.changed(parameters)


class FilterTests(SynchronousTestCase):
    """`filtered`."""

    def strip(self, body: str, *params: str) -> str:
        """Return a body without these parameters."""
        return filtered(body.encode(), Filters(strip_params=params)).decode()

    def set(self, body: str, **params: Any) -> str:
        """Return a body with these parameters, in whose names __ stands for a dot."""
        named = {name.replace("__", "."): value for name, value in params.items()}
        return filtered(body.encode(), Filters(set_params=named)).decode()

    def test_strip(self) -> None:
        """A member goes with its comma; every other byte stays, odd ones too."""
        body = '{ "a" : 1.0,\t"b":[1,{"c":2}] , "t\\u0065mp" : "x,}\\"" }'
        self.assertEqual(self.strip(body, "a"), '{ "b":[1,{"c":2}] , "t\\u0065mp" : "x,}\\"" }')
        self.assertEqual(self.strip(body, "temp"), '{ "a" : 1.0,\t"b":[1,{"c":2}] }')
        self.assertEqual(self.strip(body, "b"), '{ "a" : 1.0,\t"t\\u0065mp" : "x,}\\"" }')
        self.assertEqual(self.strip(body, "a", "b", "temp"), "{}")
        self.assertEqual(self.strip(body, "nothing", "b.c", "a.x"), body)
        self.assertEqual(self.strip("{ }", "a"), "{ }")

    def test_strip_repeated(self) -> None:
        """A name that stands there twice goes twice, wherever it leads to."""
        self.assertEqual(self.strip('{"a":1,"b":2,"a":3}', "a"), '{"b":2}')
        self.assertEqual(self.strip('{"a":{"x":1},"b":2,"a":{"x":1,"y":2}}', "a.x"), '{"a":{},"b":2,"a":{"y":2}}')

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
        self.assertEqual(self.set('{"l":[1]}', **{"l__-1": 2}), '{"l":[1,2]}')
        self.assertEqual(self.set('{"l":[]}', **{"l__-1__r": 2}), '{"l":[{"r":2}]}')

    def test_escaped_dots(self) -> None:
        """A backslash makes a dot part of a name."""
        self.assertEqual(filtered(b"{}", Filters(set_params={"a\\.b": 1})), b'{"a.b":1}')

    def test_order(self) -> None:
        """First what is stripped, then what is set for all, then what is set for the name that was asked for."""
        filters = Filters(
            strip_params=("a",), set_params={"a": 1, "b": 1}, set_params_by_id={"m:high": {"b": 2}, "n": {"b": 3}}
        )
        self.assertEqual(filtered(b'{"a":0}', filters, "m:high"), b'{"a":1,"b":2}')
        self.assertEqual(filtered(b'{"a":0}', filters, "m"), b'{"a":1,"b":1}')

    def test_if_absent(self) -> None:
        """A `?` spares what the client wrote, be it null, and what an earlier step put in; not what was stripped."""
        deep = Filters(set_params={"k.x?": 1})
        for body, changed in {
            b"{}": b'{"k":{"x":1}}',
            b'{"k":{"y":2}}': b'{"k":{"y":2,"x":1}}',
            b'{"k":{"x":0}}': b'{"k":{"x":0}}',
            b'{"k":5}': b'{"k":{"x":1}}',
        }.items():
            self.assertEqual(filtered(body, deep), changed)
        first = Filters(set_params={"l.0?": 1})
        for body in (b"[]", b"[1]"):
            self.assertEqual(filtered(b'{"l":%b}' % body, first), b'{"l":[1]}')
        self.assertEqual(filtered(b'{"l":[0]}', first), b'{"l":[0]}')
        filters = Filters(
            strip_params=("s",), set_params={"a?": 1, "s?": 1}, set_params_by_id={"n": {"a?": 2, "b?": 2, "s": 2}}
        )
        self.assertEqual(filtered(b'{"s":0,"a":null}', filters), b'{"a":null,"s":1}')
        self.assertEqual(filtered(b'{"b":0}', filters, "n"), b'{"b":0,"a":1,"s":2}')

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(OBJECTS, NAMES, VALUES, st.sampled_from([None, 1]))
    def test_any(self, body: dict[str, Any], name: str, value: object, indent: int | None) -> None:
        """Whatever the body: what is set is there, what is stripped is not, and the rest is what it was."""
        path = name.replace(".", "\\.")
        text = json.dumps(body, indent=indent).encode()
        self.assertEqual(json.loads(filtered(text, Filters(set_params={path: value}))), {**body, name: value})
        rest = {key: kept for key, kept in body.items() if key != name}
        self.assertEqual(json.loads(filtered(text, Filters(strip_params=(path,)))), rest)

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(requests(), ANY_FILTERS, st.lists(st.integers(1, 40), min_size=1, max_size=20))
    def test_any_size(self, body: bytes, filters: Filters, sizes: list[int]) -> None:
        """A body that is read while it comes, and is in no memory, is changed as one that is, which is right."""
        small = passed(read_body(None, body), filters)
        assert isinstance(small, bytes)
        self.assertEqual(parsed(small), plainly(parsed(body), filters, "m"))
        self.patch(spool, "IN_MEMORY", 10)
        content = LargeBody(None, names_model=True)
        for packet in packets(body, *sizes):
            content.write(packet)
        large = passed(content.read(), filters)
        assert not isinstance(large, bytes)
        self.assertEqual((len(large), b"".join(large.pieces())), (len(small), small))
        path = b"/v1/chat/completions"
        self.assertEqual(wants_stream(path, large), wants_stream(path, small))
        content.close()

    def test_takes_long(self) -> None:
        """Only what a path leads into must be read, and may be much."""
        long = b'{"a":[%b0],"b":{"c":"%b"},"d":1}' % (b"1," * AT_ONCE, b"x" * AT_ONCE)
        for filters, expected in (
            (Filters(), False),
            (Filters(strip_params=("a", "b", "c.d")), False),
            (Filters(set_params={"a": 1, "d.x": 2}), False),
            (Filters(strip_params=("b.x",)), True),
            (Filters(set_params={"a.7": 1}), True),
            (Filters(set_params_by_id={"m": {"b.c": 1}}), True),
            (Filters(set_params_by_id={"n": {"b.c": 1}}), False),
        ):
            edit = JsonEdit(outline_of(long), lambda start, end: long[start:end])
            self.assertEqual(takes_long(filters, "m", edit), expected, filters)

    def test_too_many(self) -> None:
        """A body with more members than anybody counts has no filters applied, which is said; nor any part of it."""
        for body, refused in (
            (b'{%b"a":{}}' % (b'"b":0,' * (MOST_MEMBERS - 1)), False),
            (b'{%b"a":{}}' % (b'"b":0,' * MOST_MEMBERS), True),
            (b'{"a":[%b0]}' % (b"0," * (MOST_INSIDE - 1)), False),
            (b'{"a":[%b0]}' % (b"0," * MOST_INSIDE), True),
        ):
            for filters in (Filters(set_params={"a.0": 1}), Filters(strip_params=("a.0",))):
                if refused:
                    self.assertIn("too many", str(self.assertRaises(BadRequest, filtered, body, filters)))
                else:
                    filtered(body, filters)

    def test_too_many_inside(self) -> None:
        """A repeated name in such a part is not told as if it were the body's, whose `model` is clear."""
        body = b'{"model":"m","a":{%b"model":1,"model":2}}' % (b'"b":0,' * MOST_INSIDE)
        error = str(self.assertRaises(BadRequest, filtered, body, Filters(set_params={"a.x": 1})))
        self.assertIn(f"among more than {MOST_INSIDE} members", error)
        self.assertNotIn("body", error)
