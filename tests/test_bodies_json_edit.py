"""JSON that is changed without being read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.json_edit import JsonEdit
from llama_swap.bodies.json_scan import outline_of
from llama_swap.bodies.spool import Edit, edited

BODY = b'{"a":1, "long":"xxxx", "o":{"x":[1,2]} ,"b":true, "b":false}'


class JsonEditTests(SynchronousTestCase):
    """What is read of a text, and which of its bytes change.  `tests/test_bodies_filters.py` has all kinds of texts."""

    def setUp(self) -> None:
        """Begin with a body."""
        self.read: list[bytes] = []
        self.edit = JsonEdit(outline_of(BODY), self.part)
        self.assertEqual(self.read.pop(), b"{")

    def part(self, start: int, end: int) -> bytes:
        """Return a part of the body, which is noted."""
        self.read.append(BODY[start:end])
        return BODY[start:end]

    def changed(self) -> bytes:
        """Return the body as it is then."""
        return edited(BODY, self.edit.edits())

    def test_untouched(self) -> None:
        """What changes nothing is no edit."""
        self.edit.strip(["y"])
        self.edit.strip(["a", "y"])
        self.assertEqual(self.changed(), BODY)
        self.assertEqual(self.edit.inside([["y", "z"], ["long"]]), 0)

    def test_reads_little(self) -> None:
        """Nothing is read but the value that a path leads into; what is put in or taken out needs not be known."""
        self.edit.strip(["long"])
        self.edit.set(["a"], {"y": 1})
        self.edit.set(["new"], None)
        self.assertEqual(self.read, [])
        self.assertEqual(self.edit.inside([["o", "x"], ["b"]]), len(b'{"x":[1,2]}'))
        self.edit.set(["o", "x", "0"], 3)
        self.edit.strip(["o", "x", "1"])
        self.assertEqual(self.read, [b'{"x":[1,2]}'])
        self.assertEqual(self.changed(), b'{"a":{"y": 1}, "o":{"x":[3]} ,"b":true, "b":false,"new":null}')

    def test_smallest(self) -> None:
        """Edits are no larger than they must be."""
        self.edit.set(["a"], 2)
        self.edit.strip(["b"])
        b, end = BODY.index(b' ,"b"'), len(BODY) - 1
        self.assertEqual(self.edit.edits(), [Edit(5, 6, b"2"), Edit(b, end, b"")])

    def test_all_gone(self) -> None:
        """Commas fit also where nothing stays, or only what is new."""
        for key in ("a", "long", "b", "o"):
            self.edit.strip([key])
        self.assertEqual(self.changed(), b"{}")
        self.edit.set(["a"], 1)
        self.edit.set(["b", "c"], [])
        self.assertEqual(self.changed(), b'{"a":1,"b":{"c":[]}}')
        self.edit.strip(["a"])
        self.assertEqual(self.changed(), b'{"b":{"c":[]}}')

    def test_is_true(self) -> None:
        """Of repeated names, the last one says so; what is too long for it is not read."""
        self.assertFalse(self.edit.is_true("b"))
        self.assertFalse(self.edit.is_true("long"))
        self.assertFalse(self.edit.is_true("y"))
        self.assertEqual(self.read, [])
        self.edit.set(["b"], True)
        self.edit.set(["y"], True)
        self.assertTrue(self.edit.is_true("b"))
        self.assertTrue(self.edit.is_true("y"))
