"""How whole answers are framed."""

from __future__ import annotations

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.errors import NotFound
from llama_swap.web.front import Front
from tests.fakes_web import app_with, site_of
from tests.fakes_wire import Client

PATHS = {b"/now": 200, b"/later": 200, b"/nothing": 200, b"/failing": 404, b"/nowhere": 404}


class SomeRoutes:
    """A few that answer in every way that there is."""

    def __init__(self) -> None:
        self.later: Deferred[bytes] = Deferred()

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/now")(lambda _: b"now")
        app.route("/later")(lambda _: self.later)
        app.route("/nothing")(lambda _: b"")
        app.route("/failing")(self.fail)
        app.route("/kept")(self.kept)

    def fail(self, _: Request) -> bytes:
        """Have none."""
        raise NotFound("no such thing")

    def kept(self, request: Request) -> bytes:
        """Let a browser use what it has."""
        request.setResponseCode(304)
        return b""


class LengthTests(SynchronousTestCase):
    """`Content-Length` of what Klein's routes return."""

    def answer(self, path: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> tuple[bytes, bytes]:
        """Return the whole answer: its head and its body."""
        routes = SomeRoutes()
        client = Client(site_of(Front(app_with(routes.add_to))))
        client.send(b"%b %b HTTP/%b\r\nHost: h\r\n\r\n" % (method, path, version))
        routes.later.callback(b"later")
        head, _, body = client.wire.take().partition(b"\r\n\r\n")
        return head, body

    def test_whole_answers(self) -> None:
        """Each comes in one piece, with its length, for clients of either version; HEAD gets the same length."""
        for path, status in PATHS.items():
            for version in (b"1.0", b"1.1"):
                head, body = self.answer(path, version=version)
                self.assertIn(b" %d " % status, head.splitlines()[0])
                self.assertIn(b"\r\nContent-Length: %d" % len(body), head)
                self.assertNotIn(b"Transfer-Encoding", head)
                head, nothing = self.answer(path, b"HEAD", version)
                self.assertIn(b"\r\nContent-Length: %d" % len(body), head)
                self.assertEqual(nothing, b"")

    def test_without_content(self) -> None:
        """An answer that can have no content says nothing of a length."""
        head, body = self.answer(b"/kept")
        self.assertTrue(head.startswith(b"HTTP/1.1 304 "))
        self.assertNotIn(b"Content-Length", head)
        self.assertEqual(body, b"")
