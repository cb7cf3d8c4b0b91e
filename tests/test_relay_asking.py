"""Asking a server for nothing but a status, or for one small body."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import NobodyListens, UpstreamError
from llama_swap.relay.asking import MOST, MOST_UNREAD, UNREAD_MAY_TAKE, get_body, get_status
from llama_swap.relay.endpoints import Dialer
from tests.fakes_web import Endpoints


class StatusTests(SynchronousTestCase):
    """`get_status`, with the upstream in memory."""

    def setUp(self) -> None:
        """Make the upstream."""
        self.endpoints = Endpoints()
        self.upstream = self.endpoints.upstream

    def ask(self, url: str = "http://127.0.0.1:5800/health") -> Deferred[int]:
        """Ask a URL."""
        return get_status(cast(Dialer, self.endpoints), url)

    def test_request(self) -> None:
        """The URL becomes the address, the Host and the target, as raw as it is."""
        for url, host, target in (
            ("http://127.0.0.1:5800/health", b"127.0.0.1:5800", b"/health"),
            ("https://[::1]/a/b?c=%20//d", b"[::1]", b"/a/b?c=%20//d"),
            ("http://h", b"h", b"/"),
        ):
            self.ask(url)
            self.assertEqual(self.endpoints.urls[-1], url)
            sent = self.upstream.accept().take()
            self.assertEqual(sent, b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, host))

    def test_any_status(self) -> None:
        """Any status is an answer; the body is let come, so that its server can write it."""
        for status in (200, 301, 404, 503):
            asked = self.ask()
            wire = self.upstream.accept()
            wire.deliver(b"HTTP/1.1 %d X\r\nContent-Length: 3\r\n\r\nbo" % status)
            self.assertNoResult(asked)
            self.assertFalse(wire.aborted)
            wire.deliver(b"d")
            self.assertEqual(self.successResultOf(asked), status)
            self.assertTrue(wire.aborted)
            wire.settle()

    def test_no_end(self) -> None:
        """A body that is too long, breaks off or does not end in time takes nothing from the status."""
        for leave in (
            lambda asked, wire: wire.deliver(b"x" * (MOST_UNREAD + 1)),
            lambda asked, wire: wire.lose(ConnectionLost()),
            lambda asked, wire: asked.cancel(),
            lambda asked, wire: self.upstream.clock.advance(UNREAD_MAY_TAKE),
        ):
            asked = self.ask()
            wire = self.upstream.accept()
            wire.deliver(b"HTTP/1.1 404 X\r\nContent-Length: 1000000\r\n\r\nx")
            leave(asked, wire)
            self.assertEqual(self.successResultOf(asked), 404)
            wire.settle()
            self.assertEqual(self.upstream.clock.getDelayedCalls(), [])

    def test_whole_answer_in_one_packet(self) -> None:
        """A body and an end behind the head do no harm."""
        asked = self.ask()
        wire = self.upstream.accept()
        wire.deliver(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n")
        wire.settle()
        self.assertEqual(self.successResultOf(asked), 200)

    def test_broken(self) -> None:
        """No answer is an error, however it came that there is none."""
        for data, reason in ((b"", None), (b"", ConnectionLost()), (b"HTTP/1.1 100 Continue\r\n\r\n", None)):
            asked = self.ask()
            wire = self.upstream.accept()
            wire.deliver(data)
            wire.lose(reason)
            self.failureResultOf(asked, UpstreamError)
        asked = self.ask()
        wire = self.upstream.accept()
        wire.deliver(b"hello\r\n")
        self.failureResultOf(asked, UpstreamError)
        self.assertTrue(wire.aborted)
        wire.settle()

    def test_refused(self) -> None:
        """A refused connection is reported as such."""
        asked = self.ask()
        self.upstream.refuse()
        self.failureResultOf(asked, NobodyListens)

    def test_cancelled(self) -> None:
        """Giving up ends the attempt to connect, or the connection."""
        asked = self.ask()
        asked.cancel()
        self.assertEqual(self.upstream.cancelled, 1)
        self.failureResultOf(asked, CancelledError, ConnectingCancelledError)
        self.setUp()
        for before in (b"", b"HTTP/1.1 200 OK\r\n"):
            asked = self.ask()
            wire: Any = self.upstream.accept()
            wire.deliver(before)
            asked.cancel()
            self.assertTrue(wire.aborted)
            self.failureResultOf(asked, CancelledError)
            wire.settle()

    def test_cancelled_after_the_answer(self) -> None:
        """Giving up too late changes nothing."""
        asked = self.ask()
        wire = self.upstream.accept()
        wire.deliver(b"HTTP/1.1 200 OK\r\n\r\n")
        asked.cancel()
        wire.settle()
        self.assertEqual(self.successResultOf(asked), 200)


class BodyTests(SynchronousTestCase):
    """`get_body`, with the other server in memory."""

    def setUp(self) -> None:
        self.endpoints = Endpoints()
        self.upstream = self.endpoints.upstream

    def ask(self) -> Deferred[bytes]:
        """Ask for something."""
        return get_body(
            cast(Dialer, self.endpoints), "https://peer.example/base/v1/models", [(b"x-api-key", b"theirs")]
        )

    def test_body(self) -> None:
        """It comes whole, however it was framed; the connection is not needed any more."""
        for answer in (
            b"Content-Length: 4\r\n\r\nbody",
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3\r\nody\r\n0\r\n\r\n",
        ):
            asked = self.ask()
            wire = self.upstream.accept()
            sent = (
                b"GET /base/v1/models HTTP/1.1\r\nHost: peer.example\r\nx-api-key: theirs\r\nConnection: close\r\n\r\n"
            )
            self.assertEqual(wire.take(), sent)
            wire.deliver(b"HTTP/1.1 200 OK\r\n" + answer[:-3])
            self.assertNoResult(asked)
            wire.deliver(answer[-3:])
            self.assertEqual(self.successResultOf(asked), b"body")
            self.assertTrue(wire.aborted)
        self.assertEqual(self.upstream.clock.getDelayedCalls(), [])

    def test_status(self) -> None:
        """Any other than 200 is an error, and its body is not read."""
        asked = self.ask()
        wire = self.upstream.accept()
        wire.deliver(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        self.assertIn("status 401", self.failureResultOf(asked, UpstreamError).getErrorMessage())
        self.assertTrue(wire.aborted)

    def test_too_large(self) -> None:
        """Nobody can fill the memory, whatever the head of the answer says."""
        asked = self.ask()
        wire = self.upstream.accept()
        wire.deliver(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MOST)
        self.assertNoResult(asked)
        wire.deliver(b"x")
        self.assertIn("more than", self.failureResultOf(asked, UpstreamError).getErrorMessage())
        self.assertTrue(wire.aborted)

    def test_no_answer(self) -> None:
        """Neither a refused connection nor one that breaks is an answer."""
        asked = self.ask()
        self.upstream.refuse()
        self.failureResultOf(asked, NobodyListens)
        asked = self.ask()
        wire = self.upstream.accept()
        wire.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody")
        wire.lose()
        self.failureResultOf(asked, UpstreamError)

    def test_cancelled(self) -> None:
        """Giving up closes the connection."""
        asked = self.ask()
        wire = self.upstream.accept()
        asked.cancel()
        self.assertTrue(wire.aborted)
        self.failureResultOf(asked, CancelledError)
