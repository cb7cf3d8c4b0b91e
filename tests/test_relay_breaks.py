"""A relayed request whose client leaves, or whose upstream breaks."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.logger import formatEvent

from tests.fakes_wire import Wire
from tests.support_relay import OK, STREAM, RelayTestCase


class ClientGoneTests(RelayTestCase):
    """The client leaves: the upstream notices, and the request is over, once."""

    def left(self, wire: Wire | None = None) -> None:
        """Let the client leave; check what must hold in every phase."""
        self.client.wire.take()
        self.client.leave()
        self.assertEqual(self.root.over, 1)
        if wire is not None:
            self.assertTrue(wire.aborted)
            wire.settle()
        self.assertEqual((self.root.over, self.client.wire.take()), (1, b""))
        self.assert_no_defect()

    def test_while_connecting(self) -> None:
        """The attempt to connect is given up."""
        self.client.ask("GET", "/")
        self.left()
        self.assertEqual(self.upstream.cancelled, 1)

    def test_while_waiting(self) -> None:
        """The connection is cut before the first byte of an answer."""
        self.left(self.ask())

    def test_while_streaming(self) -> None:
        """The connection is cut in mid-stream; bytes under way are dropped."""
        wire = self.ask()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        self.left(wire)
        self.assertEqual([event for event in self.logged if event["log_level"].name == "warn"], [])

    def test_bytes_under_way(self) -> None:
        """The end of the answer, read already when the client left, does no harm."""
        for rest in (b"2\r\nab\r\n0\r\n\r\n", b"zz\r\n"):
            self.setUp()
            wire = self.ask()
            wire.deliver(STREAM)
            self.client.leave()
            wire.aborted = False
            wire.deliver(rest)
            wire.lose()
            self.assertEqual(self.root.over, 1)
            self.assert_no_defect()

    def test_as_the_answer_ends(self) -> None:
        """Leaving right behind the last byte is no leaving any more."""
        wire = self.ask()
        wire.deliver(STREAM + b"0\r\n\r\n")
        self.client.leave()
        wire.settle()
        self.assertEqual(self.root.over, 1)
        self.assert_no_defect()

    def test_as_the_upstream_breaks(self) -> None:
        """Both ends may go at once, in either order."""
        for client_first in (True, False):
            for before in (b"", STREAM):
                self.setUp()
                wire = self.ask()
                wire.deliver(before)
                ends = [self.client.leave, lambda wire=wire: wire.lose(ConnectionLost())]
                for end in ends if client_first else reversed(ends):
                    end()
                self.assertEqual(self.root.over, 1)
                self.assert_no_defect()


class UpstreamBreaksTests(RelayTestCase):
    """The upstream fails: an error where there is room for one, else a visibly broken answer."""

    def error(self) -> str:
        """Return the message of the 502 that the client got."""
        answer = self.client.answer()
        self.assertEqual((answer.status, answer["Content-Type"]), (502, "application/json"))
        self.assertEqual(self.root.over, 1)
        self.assertFalse(self.client.wire.disconnecting)
        self.assert_no_defect()
        return answer.body.decode()

    def test_refused(self) -> None:
        """Nobody listens: 502, which names the upstream, on a connection that stays usable."""
        self.client.ask("GET", "/")
        self.upstream.refuse()
        self.assertIn("model m at http://h", self.error())
        self.ask().deliver(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(self.client.answer().status, 200)

    def test_before_the_first_byte(self) -> None:
        """It closes, or says what is no HTTP, before it has answered: 502, and a line in the log."""
        for data in (b"", OK[:9], b"HTTP/1.1 100 Continue\r\n\r\n", b"hello", b"HTTP/1.1 101 Switching\r\n\r\n"):
            self.setUp()
            wire = self.ask()
            wire.deliver(data)
            wire.lose()
            self.error()
            self.assertEqual(
                [event["upstream"] for event in self.logged if "upstream" in event], ["model m at http://h"]
            )

    def test_no_tls(self) -> None:
        """Where TLS comes to nothing, the error says that, and why."""
        wire = self.ask()
        wire.lose(SSL.Error([("SSL routines", "", "certificate verify failed")]))
        self.assertIn("TLS cannot be spoken with it: certificate verify failed", self.error())

    def test_chunks_break_off(self) -> None:
        """Chunks without a last one are broken; what came before still arrives."""
        wire = self.ask()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        wire.lose()
        seen = self.client.wire.take()
        self.assertTrue(seen.endswith(b"\r\n\r\n2\r\nab\r\n"), seen)
        self.assertTrue(self.client.wire.disconnecting)
        self.assertFalse(self.client.wire.aborted)
        self.cut()

    def test_length_breaks_off(self) -> None:
        """Less than the announced length is broken, for old clients too."""
        for version in ("HTTP/1.1", "HTTP/1.0"):
            self.setUp()
            wire = self.ask(version=version)
            wire.deliver(OK + b"Content-Length: 3\r\n\r\nab")
            wire.lose()
            self.assertTrue(self.client.wire.take().endswith(b"Content-Length: 3\r\n\r\nab"))
            self.assertTrue(self.client.wire.disconnecting)
            self.assertFalse(self.client.wire.aborted)
            self.cut()

    def test_nothing_but_a_reset_shows(self) -> None:
        """Where a closed connection would be the end, a reset says that it is none."""
        wire = self.ask(version="HTTP/1.0")
        wire.deliver(STREAM + b"2\r\nab\r\n")
        wire.lose()
        self.assertTrue(self.client.wire.aborted)
        self.cut()

    def test_reset_without_framing(self) -> None:
        """A reset is no end of an answer without framing."""
        wire = self.ask()
        wire.deliver(OK + b"\r\nab")
        wire.lose(ConnectionLost())
        self.assertTrue(self.client.wire.take().endswith(b"2\r\nab\r\n"))
        self.assertTrue(self.client.wire.disconnecting)
        self.cut()

    def test_while_the_client_is_paused(self) -> None:
        """The same holds while the client does not read."""
        wire = self.ask()
        wire.deliver(STREAM)
        self.client.wire.fill()
        wire.lose()
        self.assertTrue(self.client.wire.disconnecting)
        self.cut()

    def cut(self) -> None:
        """Let the client's connection end, and check that the request was over once, and is noted in the log."""
        self.client.wire.settle()
        [event] = [event for event in self.logged if event["log_level"].name == "warn"]
        self.assertIn("model m at http://h: an answer broke off: ", formatEvent(event))
        self.assertEqual(self.root.over, 1)
        self.assert_no_defect()
