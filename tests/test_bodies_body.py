"""The model in a body of any form and size."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.body import LONGEST_NAME, LargeBody, Named, Types, read_body, read_query
from llama_swap.bodies.spool import IN_MEMORY, Spooled
from llama_swap.errors import BadRequest
from llama_swap.http.headers import Body

JSON = b'{"x":"\xc3\xbc", "model" : "m" ,"y":1}'
URLENCODED = b"x=%C3%BC&model=m&y=1"
MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\x00\xff\r\n'
    b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--B--\r\n'
)
FORMS: list[tuple[Types, bytes, bytes]] = [
    *(
        (types, JSON, JSON.replace(b'"m"', b'"n\\u00fc 1"'))
        for types in (None, [b"application/json"], [b"application/json; charset=utf-8"], [b"text/plain"], [b""])
    ),
    ([b"application/x-www-form-urlencoded"], JSON, JSON.replace(b'"m"', b'"n\\u00fc 1"')),
    ([b"application/x-www-form-urlencoded"], URLENCODED, URLENCODED.replace(b"=m", b"=n%C3%BC+1")),
    ([b"Application/X-WWW-Form-Urlencoded;charset=utf-8"], URLENCODED, URLENCODED.replace(b"=m", b"=n%C3%BC+1")),
    ([b"application/x-www-form-urlencoded ; charset=utf-8"], URLENCODED, URLENCODED.replace(b"=m", b"=n%C3%BC+1")),
    ([b"multipart/form-data; boundary=B"], MULTIPART, MULTIPART.replace(b"\nm\r", b"\nn\xc3\xbc 1\r")),
]
REFUSED: list[tuple[Types, bytes]] = [
    ([b"application/json", b"multipart/form-data; boundary=B"], JSON),
    ([b"application/json", b"application/json"], JSON),
    ([b"multipart/form-data; boundary=B"], JSON),
    ([b"multipart/mixed; boundary=B"], MULTIPART),
    ([b"multipart/form-data"], MULTIPART),
    ([b"application/json"], MULTIPART),
    ([b"application/json"], URLENCODED),
    (None, b""),
    ([b"application/x-www-form-urlencoded"], b""),
    ([b"multipart/form-data; boundary=B"], b""),
]


def large(types: Types, body: bytes, size: int = 7, *, names_model: bool = True) -> LargeBody:
    """Return a large body, however small it is."""
    content = LargeBody(types, names_model=names_model)
    for start in range(0, len(body), size):
        content.write(body[start : start + size])
    return content


def whole(body: bytes | Body) -> bytes:
    """Return all of a body."""
    return body if isinstance(body, bytes) else b"".join(body.pieces())


class FormTests(SynchronousTestCase):
    """What decides in which form a body is read, and that both ways of reading agree."""

    def check(self, named: Named[bytes | Body], body: bytes, renamed: bytes) -> None:
        """Check what was read."""
        self.assertEqual((named.model, whole(named.text)), ("m", body))
        self.assertEqual(whole(named.renamed("nü 1")), renamed)
        self.assertEqual(len(named.renamed("nü 1")), len(renamed))

    def test_forms(self) -> None:
        """Forms are known by their Content-Type; everything else is JSON.  With another name, nothing else changes."""
        for types, body, renamed in FORMS:
            self.check(read_body(types, body), body, renamed)
            self.check(large(types, body).read(), body, renamed)

    def test_refused(self) -> None:
        """What is not in the form that it is said to have is refused, and so is what is said to have two."""
        for types, body in REFUSED:
            self.assertRaises(BadRequest, read_body, types, body)
            self.assertRaises(BadRequest, large(types, body).read)

    def test_query(self) -> None:
        """A query names a model in the same way as a form."""
        self.check(read_query(URLENCODED), URLENCODED, URLENCODED.replace(b"=m", b"=n%C3%BC+1"))
        for query in (b"", b"x=1", b"model=a&model=b", b'{"model":"a"}'):
            self.assertRaises(BadRequest, read_query, query)


class LargeBodyTests(SynchronousTestCase):
    """What is special about a body that is read while it comes."""

    def test_refused_early(self) -> None:
        """Nothing more is kept of a body that is refused, and the refusal is the first one."""
        content = large(None, b'{"model":"m",}' + b"x" * 1000)
        self.assertLess(content._spool.size, 20)
        self.assertIn("at byte 13", str(self.assertRaises(BadRequest, content.read)))

    def test_not_read(self) -> None:
        """A body that names no model is kept as it is, whatever it holds."""
        for types in (None, [b"multipart/form-data"], [b"a/b", b"c/d"]):
            content = large(types, b"\xff\0" * 500, names_model=False)
            self.assertEqual(whole(content.as_it_came()), b"\xff\0" * 500)

    def test_far_behind(self) -> None:
        """A model is found, and has another name put in its place, however much stands before it."""
        before = b'{"x":"' + b"x" * LONGEST_NAME + b'","model":'
        content = large(None, before + b'"m"}', 1 << 20)
        self.addCleanup(content.close)
        named = content.read()
        self.assertEqual(named.model, "m")
        self.assertTrue(whole(named.renamed("n")) == before + b'"n"}')

    def test_streams(self) -> None:
        """Of a body in a file it is still known whether it asks for a stream, under any name."""
        filler = b"x" * IN_MEMORY
        for asked, streams in ((b"true", True), (b"false", False), (b'"true"', False), (b"{}", False)):
            content = large(None, b'{"model":"m","stream":%b,"x":"%b"}' % (asked, filler), 1 << 16)
            self.addCleanup(content.close)
            named = content.read()
            for body in (named.text, named.renamed("n")):
                assert isinstance(body, Spooled)
                self.assertEqual(body.streams, streams, asked)
        form = large([b"multipart/form-data; boundary=B"], MULTIPART.replace(b"\0", filler), 1 << 16)
        self.addCleanup(form.close)
        for body in (form.as_it_came(), form.read().text):
            assert isinstance(body, Spooled)
            self.assertFalse(body.streams)

    def test_long_names(self) -> None:
        """A model may have a long name, but not one that fills the memory."""
        name = "n" * 1_000_000
        content = large(None, json.dumps({"model": name}).encode(), 65536)
        self.assertEqual(content.read().model, name)
        for value in (b'"' + b"n" * LONGEST_NAME + b'"', b"[" + b"1," * LONGEST_NAME + b"1]"):
            content = large(None, b'{"model":' + value + b"}", 65536)
            self.addCleanup(content.close)
            self.assertIn("that long", str(self.assertRaises(BadRequest, content.read)))
