"""JSON that is checked while it comes: the same is read, and the same refused, as by Python's decoder."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.json_body import JsonStream, WholeJson
from llama_swap.bodies.json_outline import MOST_MEMBERS, Outline
from llama_swap.bodies.json_scan import MAX_DEPTH, MAX_SCALAR, JsonScan
from llama_swap.errors import BadRequest
from tests.support_json import NO_JSON, NO_MODEL, TWO_MODELS, VALID, bodies, packets

PACKETS = (1, 2, 3, 7, 64, 65536)
DAMAGES = (b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"\xff", b"\n", b"0", b"-", b"tru", b'"model":"b",', b" ")


def sizes_for(body: bytes) -> list[int]:
    """Return in which sizes of packets it is worth the time to feed a body."""
    return [size for size in PACKETS if len(body) < 1000 * size]


def read(reader: WholeJson | JsonStream, body: list[bytes]) -> tuple[int, int, str] | None:
    """Return where the model stands, and what it is; None if the body is refused."""
    try:
        for packet in body:
            reader.feed(packet)
        start, end = reader.end()
        return start, end, reader.decode(b"".join(body)[start:end])
    except BadRequest as error:
        str(error).encode()  # it can be sent
        return None


class ScanTests(SynchronousTestCase):
    """`JsonStream` beside `WholeJson`, which has tests of its own."""

    def refusal(self, body: bytes, *sizes: int) -> str:
        """Return why a body is refused."""
        stream = JsonStream()

        def feed() -> None:
            for packet in packets(body, *sizes):
                stream.feed(packet)
            start, end = stream.end()
            stream.decode(body[start:end])

        return str(self.assertRaises(BadRequest, feed))

    def test_decoder_in_vain(self) -> None:
        """Brackets that stay open do not have the decoder read the rest of a packet for each of them."""
        in_vain: list[int] = []

        class Scan(JsonScan):
            def _decode(self, text: str, position: int) -> int:
                end = super()._decode(text, position)
                if end == position:
                    in_vain.append(position)
                return end

        scan = Scan()
        scan.feed(b'{"model":"a","x":[')
        for deep in (b"0,", b"[[[[[[0]]]]]],"):
            scan.feed(b"[" * 400 + deep * (60_000 // len(deep)))
        self.assertTrue(2 <= len(in_vain) < 20, len(in_vain))

    def test_valid(self) -> None:
        """What is valid is read, however it is cut."""
        for body, model in VALID.items():
            for size in sizes_for(body):
                found = read(JsonStream(), packets(body, size))
                self.assertEqual(found, read(WholeJson(), [body]), body[:60])
                self.assertEqual(found and found[2], model)

    def test_long_string(self) -> None:
        """Packets in the midst of a long string are judged at sight, if there are only plain characters in them."""
        odd = [b'"', b"\\", b"\\u00e9", b"\\\\", b'\\"', b"\n", b"\x1f", b"\x7f", "é€😀".encode(), b"\xff"]
        for key in (False, True):
            for at in range(2990, 3020):
                for each in [*odd, b'","model":"b']:
                    long = b"x" * at + each + b"x" * (5000 - at)
                    body = b'{"%b":1,"model":"a"}' % long if key else b'{"x":"%b","model":"a"}' % long
                    found = read(JsonStream(), packets(body, 500))
                    self.assertEqual(found, read(WholeJson(), [body]), (at, each, key))

    def test_refused(self) -> None:
        """What is not is refused, however it is cut, and for the same kind of reason."""
        for reason, refused in (
            ("invalid JSON", NO_JSON),
            ("missing or invalid 'model' key", NO_MODEL),
            ("more than one 'model'", TWO_MODELS),
        ):
            for body in refused:
                for size in sizes_for(body):
                    self.assertIn(reason, self.refusal(body, size), body[:60])

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(bodies(), st.lists(st.integers(1, 40), min_size=1, max_size=20), st.data())
    def test_same_as_decoder(self, parts: tuple[bytes, bytes, bytes, str], sizes: list[int], data: Any) -> None:
        """In any body, cut anywhere, whole or damaged in any place, both find the same or nothing."""
        body = b"".join(parts[:3])
        self.assertEqual(read(JsonStream(), packets(body, *sizes)), (len(parts[0]), len(b"".join(parts[:2])), parts[3]))
        for _ in range(3):
            at, end = sorted((data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))))
            instead = data.draw(st.sampled_from([b"", body[at:end] * 2, *DAMAGES]))
            bad = body[:at] + instead + body[min(end, at + 3) :]
            self.assertEqual(read(JsonStream(), packets(bad, *sizes)), read(WholeJson(), [bad]), bad)

    @settings(deadline=None)
    @given(st.text('{}[]":,\\modelu0065 \n-1.e+é', max_size=60), st.lists(st.integers(1, 9), min_size=1))
    def test_junk(self, text: str, sizes: list[int]) -> None:
        """Likewise in what nobody would call JSON."""
        body = f'{{"model":"a",{text}'.encode()
        self.assertEqual(read(JsonStream(), packets(body, *sizes)), read(WholeJson(), [body]))

    def test_long(self) -> None:
        """Strings, numbers and spaces longer than any packet, and rows of elements, are read to their ends."""
        for value in (
            '"' + 'a\\n\\u00e9"'[:-1] * 50_000 + '"',
            '"' + "é😀" * 50_000 + '"',
            "9" * 100_000 + ".5e-" + "1" * 10_000,
            " " * 300_000 + "null",
            json.dumps(list(range(100_000))),
            json.dumps([[[[[i]]], {"a": {"b": [{"c": "d"}] * 3}}] for i in range(3000)], indent=1),
        ):
            body = f'{{"x":{value},"model" : "m" , "y":[{value}], "model ":{value}}}'.encode()
            for size in (5000, 65536):
                found = read(JsonStream(), packets(body, size))
                assert found is not None, value[:20]
                self.assertEqual((body[found[0] : found[1]], found[2]), (b'"m"', "m"))
            damaged = f'{{"model":"m","x":{value[:-1]}\\x{value[-1]}}}'.encode()
            self.assertIn("invalid JSON", self.refusal(damaged, 65536))

    def test_deep_everywhere(self) -> None:
        """Where nearly everything is nested deeply, and is left to the decoder, faults are found all the same."""
        deep = b"[" * 9 + b'{"a":{"b":"' + b"x" * 30 + b'"}}' + b"]" * 9
        for size in (300, 65536):
            rows = b",".join([deep] * 3000)
            body = b'{"x":[' + rows + b'],"model":"m"}'
            found = read(JsonStream(), packets(body, size))
            assert found is not None
            self.assertEqual(found[2], "m")
            for wrong in (
                b"[1,]",
                b"NaN",
                b'{"a" 1}',
                b'"\n"',
                b"]",
                deep.replace(b"{", b"NaN,{", 1),
                b"[1] [1]",
                b"1 [1]",
                b'"a" {}',
            ):
                at = body.index(deep, len(body) - 2000)
                self.assertIn("invalid JSON", self.refusal(body[:at] + wrong + b"," + body[at:], size))

    def test_deep_outermost(self) -> None:
        """Of outermost members that are left to the decoder it is known as well where they stand."""
        deep = b"[" * 9 + b"0" + b"]" * 9
        body = b'{"x":[' + b",".join([deep] * 300) + b'],"y" : ' + deep + b' ,"z":{"a":' + deep + b"}}"
        members = self.outline(body, 65536).members
        self.assertEqual([member.key for member in members], ["x", "y", "z"])
        _, key, start, end = members[1]
        self.assertEqual((body[key:start], body[start:end]), (b'"y" : ', deep))

    def test_long_string_where_none_may_come(self) -> None:
        """A string that is longer than a packet is refused as a short one is."""
        long = b"x" * 5000
        for body in (
            b'{"x":1 "%b","model":"a"}',
            b'{"x" "%b","model":"a"}',
            b'{"x":[1 "%b"],"model":"a"}',
            b'{"model":"a" "%b":1}',
            b'{"model":"a"}"%b"',
            b'"%b"',
        ):
            for size in (500, 3000):
                self.assertIn("invalid JSON", self.refusal(body % long, size))

    def test_at_once(self) -> None:
        """What no packet can make right any more is not kept until its end comes."""
        for text in ('{"x":@', '{"x":tr@', '{"x" 1', '{"x":1 tru', "{x", "@", '{"x" "a', '{"x":1 "a'):
            self.assertRaises(BadRequest, JsonScan().feed, text.encode())

    def test_long_names(self) -> None:
        """A model, or a key, may be longer than any packet; `model` in escapes is found wherever it is cut."""
        name = "m" * 1_000_000
        body = json.dumps({"k" * 200_000: 1, "model": name}).encode()
        self.assertEqual(read(JsonStream(), packets(body, 65536)), (200_017, len(body) - 1, name))
        key = "".join(f"\\u{ord(char):04x}" for char in "model")
        for first in range(1, 40):
            self.assertIsNotNone(read(JsonStream(), packets(f'{{"{key}":"a"}}'.encode(), first, 100)))

    def test_limits(self) -> None:
        """Nesting and numbers end somewhere."""
        for opening, closing in ("[]", ('{"a":', "}")):
            for depth, is_read in ((MAX_DEPTH - 1, True), (MAX_DEPTH + 10, False)):
                deep = f'{{"x":{opening * depth}1{closing * depth},"model":"m"}}'.encode()
                if is_read:
                    self.assertIsNotNone(read(JsonStream(), packets(deep, 100)))
                else:
                    self.assertIn("nested too deeply", self.refusal(deep, 100))
        self.assertIn("number", self.refusal(b'{"x":' + b"1" * (MAX_SCALAR + 70_000), 65536))

    def test_says_where(self) -> None:
        """The message says where the body goes wrong."""
        for size in (3, 4, 100):
            self.assertIn("not UTF-8 at byte 21", self.refusal(b'{"model": "a", "x": "\xff"}', size))
        self.assertIn("not UTF-8 at byte 21", self.refusal(b'{"model": "a", "x": "\xc3"}', 22, 1))
        self.assertIn("at byte 15", self.refusal(b'{"model": "a",\n}', 4))
        self.assertIn("too early, after 14 bytes", self.refusal(b'{"model": "a" ', 4))

    def test_members(self) -> None:
        """Every outermost member is noted, and where it and its value stand, whatever that is, however it is cut."""
        body = b' {"a":1 ,"model":[1,{"model":2}] ,"x":{"a":3},"\\u0061" : {"b":[]},"\xc3\xbc":true,"a":"a"} '
        for size in PACKETS:
            outline = self.outline(body, size)
            self.assertEqual((outline.opening, outline.closing, outline.is_whole), (1, len(body) - 2, True))
            self.assertEqual(
                [(key, body[start:value], body[value:end]) for key, start, value, end in outline.members],
                [
                    ("a", b'"a":', b"1"),
                    ("model", b'"model":', b'[1,{"model":2}]'),
                    ("x", b'"x":', b'{"a":3}'),
                    ("a", b'"\\u0061" : ', b'{"b":[]}'),
                    ("ü", b'"\xc3\xbc":', b"true"),
                    ("a", b'"a":', b'"a"'),
                ],
            )

    def test_arrays(self) -> None:
        """If they are wanted, the elements of an array are noted just so; without that, one is refused."""
        body = b'[1, [2,[3,[4,[5,[6]]]]],{"a":[]} ,"x"]'
        for size in PACKETS:
            outline = self.outline(body, size, arrays=True)
            self.assertEqual(
                [(key, start, body[value:end]) for key, start, value, end in outline.members],
                [("0", 1, b"1"), ("1", 4, b"[2,[3,[4,[5,[6]]]]]"), ("2", 24, b'{"a":[]}'), ("3", 34, b'"x"')],
            )
            self.assertEqual((outline.opening, outline.closing), (0, len(body) - 1))
            self.assertIn("must be an object", str(self.assertRaises(BadRequest, self.outline, body, size)))
            self.assertRaises(BadRequest, self.outline, b"7", size, arrays=True)

    def test_long_keys(self) -> None:
        """A key that is longer than those that are looked for is noted without its name, wherever it is cut."""
        body = b'{"%b":1,"a":2}' % (b"k" * 5000)
        for size in (7, 3000, 9000):
            noted = [(member.key, member.start) for member in self.outline(body, size).members]
            self.assertEqual(noted, [(None, 1), ("a", 5006)])
            later = body.replace(b"{", b'{"b":0,')
            noted = [(member.key, member.start) for member in self.outline(later, size).members]
            self.assertEqual(noted, [("b", 1), (None, 7), ("a", 5012)])
            noted = [(member.key, member.start) for member in self.outline(b'{"c":%b}' % later, size).members]
            self.assertEqual(noted, [("c", 1)])

    def test_many_members(self) -> None:
        """Of a body with very many members only the model is noted; if that is there again, it is refused at once."""
        many = b'"a":[0], "b":"{", "\\u0061" : 0,' * MOST_MEMBERS
        for size in (7, 1000, 65536):
            for model in (b'"model"', b'"mod\\u0065l"'):
                outline = self.outline(b'{%b%b:"m",%b"c":0}' % (many, model, many), size)
                self.assertEqual((outline.is_whole, [key for key, *_ in outline.members]), (False, ["model"]))
                self.assertEqual(outline.closing, 2 * len(many) + len(model) + 11)
                scan = JsonScan()
                scan.feed(b"{" + many + model + b":1,")
                self.assertIn("more than one", str(self.assertRaises(BadRequest, scan.feed, b'"model":2,')))

    def outline(self, body: bytes, size: int, *, arrays: bool = False) -> Outline:
        """Return what is noted of a body in packets of this size."""
        scan = JsonScan(arrays=arrays)
        for packet in packets(body, size):
            scan.feed(packet)
        return scan.end()
