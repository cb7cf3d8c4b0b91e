"""`model` in urlencoded forms and queries."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, quote_plus

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.body_reader import BodyReader
from llama_swap.bodies.json_body import JsonStream, WholeJson
from llama_swap.bodies.urlencoded import UrlencodedReader
from llama_swap.errors import BadRequest

FOUND: dict[bytes, tuple[bytes, str]] = {
    b"model=a": (b"a", "a"),
    b"x=1&model=a&y=2": (b"a", "a"),
    b"model=a&": (b"a", "a"),
    b"&&model=org%2Fa+b%3AQ4": (b"org%2Fa+b%3AQ4", "org/a b:Q4"),
    b"m%6Fd%65l=gr%C3%B6%C3%9Fe": (b"gr%C3%B6%C3%9Fe", "größe"),
    b"x=1&%6d%6F%64%65%6C=%c3%b6": (b"%c3%b6", "ö"),
    b"prompt=model&model=a": (b"a", "a"),
    b"xmodel=b&model=a&models=c&Model=d&model[]=e&_model=f": (b"a", "a"),
    b"x=model=b&model=a=b": (b"a=b", "a=b"),
}
REFUSED: dict[bytes, str] = {
    b"": "missing",
    b"x=1": "missing",
    b"Hello": "missing",
    b"model=a&model=a": "more than one",
    b"model=a&x=1&mode%6c=b": "more than one",
    b"model=&model=a": "more than one",
    b"model&model=a": "more than one",
    b"model": "name of a model",
    b"model=": "name of a model",
    b"model&x=1": "name of a model",
    b"model=%ff": "name of a model",
    b"model=%zz": "name of a model",
    b"model=%4": "name of a model",
    b"model=%4_": "name of a model",
    b"model=%4g": "name of a model",
    b"model=a;b": "';'",
    b"model=a;model=b": "';'",
    b"x=1;model=a": "';'",
    b"model=a&x=1;model=b": "';'",
    b"x=1;model=a&y=2": "';'",
    b"x=longer-than-any-spelling-of-the-name;model=a": "';'",
    b"x;y=longer-than-any-spelling-of-the-name;model=a": "';'",
}


class UrlencodedTests(SynchronousTestCase):
    """Forms, in packets of any size."""

    def test_endless_value(self) -> None:
        """A value that is longer than any name is not waited for."""
        reader = UrlencodedReader(None)
        reader.feed(b"model=" + b"x" * 16_000)
        self.assertRaises(BadRequest, reader.feed, b"x" * 1000)

    def read(self, form: bytes, size: int, json: Callable[[], BodyReader] | None = WholeJson) -> tuple[bytes, str]:
        """Return how the model is spelled, and what it is."""
        reader = UrlencodedReader(json)
        for start in range(0, len(form), size):
            reader.feed(form[start : start + size])
        start, end = reader.end()
        return form[start:end], reader.decode(form[start:end])

    def test_found(self) -> None:
        """The one field of that name, however it is spelled, is found where it stands."""
        for form, expected in FOUND.items():
            for size in (1, 2, 3, 100):
                self.assertEqual(self.read(form, size), expected, form)
                self.assertEqual(self.read(form, size, None), expected, form)

    def test_refused(self) -> None:
        """None, two, an empty one, or one that not all servers would find, are refused."""
        for form, reason in REFUSED.items():
            for size in (1, 2, 3, 100):
                self.assertIn(reason, str(self.assertRaises(BadRequest, self.read, form, size)), form)

    def test_json(self) -> None:
        """JSON is read as such, unless it would be a form with a model, too."""
        for json in (WholeJson, JsonStream):
            for body in (b'{"model":"a"}', b' \n{"x":"a&b=c&models=1","model":"a"}'):
                for size in (1, 2, 100):
                    self.assertEqual(self.read(body, size, json), (b'"a"', "a"))
            for body in (b'{"x":"&model=b&","model":"a"}', b'{"x":"&mode%6C&","model":"a","y":"&m"}'):
                self.assertIn("application/json", str(self.assertRaises(BadRequest, self.read, body, 7, json)))
            self.assertIn("invalid JSON", str(self.assertRaises(BadRequest, self.read, b"{model=a", 100, json)))

    def test_large(self) -> None:
        """Neither many fields nor long ones are in the way."""
        name = "n" * 16_000
        form = b"a=1&" * 100_000 + b"b=" + b"x" * 300_000 + b"&model=" + name.encode() + b"&c=" + b"y" * 300_000
        self.assertEqual(self.read(form, 65536), (name.encode(), name))

    def test_spells(self) -> None:
        """Another name is written so that it is read as that."""
        for name in ("a", "org/a b:Q4+&=%;", "größe 😀"):
            spelled = UrlencodedReader(None).spell(name)
            self.assertEqual(parse_qsl(f"model={spelled.decode()}"), [("model", name)])

    @given(
        st.lists(st.tuples(st.text(), st.text())),
        st.text(min_size=1),
        st.lists(st.tuples(st.text(), st.text())),
        st.integers(1, 50),
    )
    def test_any_form(self, before: list[tuple[str, str]], model: str, after: list[tuple[str, str]], size: int) -> None:
        """In any form that a client could make, the model is found."""
        fields = [(name, value) for name, value in (*before, ("model", model), *after)]
        form = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields).encode()
        if [name for name, _ in fields].count("model") == 1:
            self.assertEqual(self.read(form, size), (quote_plus(model).encode(), model))
