"""What clients get when a route fails, or when there is none."""

from __future__ import annotations

import json
from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.errors import NotFound, SwapError, TooManyRequests, Unavailable, UpstreamError
from llama_swap.net.worker import NoThread
from llama_swap.server.errors import refuse
from llama_swap.web.front import Front
from tests.fakes_web import app_with, site_of
from tests.fakes_wire import Answer, Client


class FailureTests(SynchronousTestCase):
    """Routes that fail, one way or another."""

    def setUp(self) -> None:
        """Make an app whose routes fail."""
        self.error: Exception = NotFound("nothing here")
        self.later: Deferred[None] = Deferred()
        self.client = Client(site_of(Front(app_with(self.add_to))))

    def add_to(self, app: Klein) -> None:
        """Add routes that fail at once, later, and by `refuse`."""

        @app.route("/now", methods=["GET", "POST"])
        def now(request: Request) -> Any:
            raise self.error

        @app.route("/later")
        async def later(request: Request) -> Any:
            await self.later
            raise self.error

        @app.route("/refused")
        def refused(request: Request) -> Any:
            assert isinstance(self.error, SwapError)
            refuse(request, self.error)
            return Deferred()

    def get(self, target: str, **headers: str) -> Answer:
        """GET a page."""
        self.client.ask("GET", target, headers=headers)
        return self.client.answer()

    def test_swap_error(self) -> None:
        """Status, type, length and body are the error's, and nobody may guess another type."""
        for target in ("/now", "/refused"):
            for kind in (NotFound, UpstreamError):
                self.error = kind("it broke")
                answer = self.get(target)
                self.assertEqual((answer.status, json.loads(answer.body)["error"]["code"]), (kind.status, kind.code))
                self.assertEqual(answer["Content-Length"], str(len(answer.body)))
                self.assertEqual(answer["X-Content-Type-Options"], "nosniff")
                self.assertIsNone(answer["Retry-After"])
        self.assertFalse(self.client.wire.disconnecting)

    def test_retry_after(self) -> None:
        """Some errors say when to come back."""
        self.error = TooManyRequests("too many")
        answer = self.get("/now")
        self.assertEqual((answer.reason, answer["Retry-After"]), ("Too Many Requests", "1"))
        self.error = Unavailable("backing off")
        self.error.retry_after = 7
        self.assertEqual(self.get("/now")["Retry-After"], "7")

    def test_no_thread(self) -> None:
        """That the system allows no thread for an answer is no defect: it may be asked for again."""
        self.error = NoThread()
        self.assertEqual((self.get("/now").status, self.flushLoggedErrors()), (503, []))

    def test_accept(self) -> None:
        """The client's `Accept` decides."""
        answer = self.get("/now", Accept="text/plain")
        self.assertEqual(
            (answer["Content-Type"], answer.body), ("text/plain; charset=utf-8", b"llama-swap: nothing here\n")
        )

    def test_head(self) -> None:
        """To HEAD, an error has a head only."""
        for method in ("HEAD", "GET"):
            self.client.ask(method, "/now")
            answer = self.client.answer(method)
            self.assertEqual((answer.status, bool(answer.body)), (404, method == "GET"))
            self.assertGreater(int(answer["Content-Length"] or 0), 0)

    def test_no_page(self) -> None:
        """A path without a route is named, as raw as it came."""
        for target in ("/nowhere", "/now%2Fx", "/%3Cb%3E", "/now/..", "//"):
            answer = self.get(target + "?query")
            self.assertEqual(answer.status, 404)
            self.assertEqual(json.loads(answer.body)["error"]["message"], f"no page {target} here")

    def test_nearly(self) -> None:
        """Who missed a page by little is told of it."""
        answer = self.get("/now/?query")
        self.assertEqual(json.loads(answer.body)["error"]["message"], "no page /now/ here: did you mean /now?")

    def test_absolute_form(self) -> None:
        """A target that names a host is no page of this proxy, which is no open one."""
        self.assertEqual(self.get("http://example.com/now").status, 400)

    def test_method(self) -> None:
        """A wrong method is told the right ones."""
        for method in ("PUT", "delete", "ODD"):
            self.client.ask(method, "/now")
            answer = self.client.answer()
            self.assertEqual((answer.status, answer["Allow"]), (405, "GET, HEAD, POST"))
            self.assertEqual(json.loads(answer.body)["error"]["message"], "/now takes GET, HEAD, POST")

    def test_defect(self) -> None:
        """A defect is logged with its traceback, and the client learns no details."""
        self.error = ZeroDivisionError("secret")
        answer = self.get("/now")
        self.assertEqual((answer.status, answer["Content-Type"]), (500, "application/json"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(json.loads(answer.body)["error"]["code"], "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_later(self) -> None:
        """A route may also fail later."""
        self.client.ask("GET", "/later")
        self.assertEqual(self.client.wire.take(), b"")
        self.later.callback(None)
        self.assertEqual(self.client.answer().status, 404)

    def test_client_left(self) -> None:
        """When the client leaves, the route is cancelled, without a word in the log."""
        cancelled: list[CancelledError] = []
        self.later.addErrback(lambda failure: cancelled.append(failure.value) or failure)
        self.client.ask("GET", "/later")
        self.client.leave()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.client.wire.take(), b"")

    def test_odd_host(self) -> None:
        """What stands in `Host` is nothing to stumble over."""
        for host in ("a..b", "x" * 70, "[::1]:80", "%", "-", "xn--"):
            self.client.ask("GET", "/now", headers={"Host": host})
            self.assertEqual(self.client.answer().status, 404, host)
