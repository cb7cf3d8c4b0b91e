"""What routes read of a query, and how they answer."""

from __future__ import annotations

from klein import Klein
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.server.answers import begin_stream, json_answer, query_of, text_answer, whole_number
from llama_swap.web.front import Front
from tests.fakes_web import app_with, site_of
from tests.fakes_wire import Answer, Client


class QueryTests(SynchronousTestCase):
    """`query_of` and `whole_number`."""

    def query(self, query: str) -> dict[str, list[str]]:
        """Return what a route reads."""
        queries = []

        def note(request: Request) -> bytes:
            queries.append(query_of(request))
            return b""

        Client(site_of(Front(app_with(lambda app: app.route("/x")(note))))).ask("GET", f"/x{query}")
        return queries[0]

    def test_parameters(self) -> None:
        """Each has all of its values, in order; one without any, or without "=", has the empty text."""
        self.assertEqual(self.query("?a=1&b=%C3%BC+x&a=2"), {"a": ["1", "2"], "b": ["ü x"]})
        self.assertEqual(self.query("?flag&none="), {"flag": [""], "none": [""]})
        self.assertEqual((self.query(""), self.query("?")), ({}, {}))
        self.assertEqual(self.query("?a=?&b=%FF"), {"a": ["?"], "b": ["\ufffd"]})

    def test_whole_numbers(self) -> None:
        """A number is written in plain digits, and not in so many that reading it costs something."""
        self.assertEqual([whole_number(text) for text in ("0", "007", "9" * 15)], [0, 7, 10**15 - 1])
        for text in ("", "-1", "+1", " 1", "1_0", "1e3", "0x1", "1.0", "٣", "²", "9" * 16):
            self.assertIsNone(whole_number(text), text)


class AnswerTests(SynchronousTestCase):
    """What answers begin with."""

    def answer(self, path: str) -> Answer:
        """Return what a client gets."""
        client = Client(site_of(Front(app_with(self.add_to))))
        client.ask("GET", path)
        return client.answer()

    def add_to(self, app: Klein) -> None:
        """Add one route for each kind of answer."""

        def stream(request: Request) -> bytes:
            begin_stream(request, b"text/event-stream")
            return b":\n\n"

        app.route("/json", endpoint="json")(lambda request: json_answer(request, {"a": "ü"}))
        app.route("/text", endpoint="text")(lambda request: text_answer(request, "ü"))
        app.route("/stream")(stream)

    def test_whole(self) -> None:
        """An answer says what it is, and that it is not to be kept."""
        for path, kind, body in (
            ("/json", "application/json", b'{"a": "\\u00fc"}'),
            ("/text", "text/plain; charset=utf-8", "ü".encode()),
        ):
            answer = self.answer(path)
            self.assertEqual((answer["Content-Type"], answer["Cache-Control"]), (kind, "no-store"))
            self.assertEqual((answer.body, answer["X-Content-Type-Options"]), (body, "nosniff"))

    def test_stream(self) -> None:
        """A stream says that nothing before us is to hold it back."""
        answer = self.answer("/stream")
        self.assertEqual((answer["Cache-Control"], answer["X-Accel-Buffering"]), ("no-cache", "no"))
