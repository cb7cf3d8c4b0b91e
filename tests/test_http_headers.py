"""Which header fields cross the proxy, and how a request head is written."""

from __future__ import annotations

from string import ascii_letters, digits

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.http.headers import AnswerHead, OutboundRequest, end_to_end
from tests.fakes_wire import request_to

TOKEN = st.text(f"{ascii_letters}{digits}-_!#$%&'*+.^`|~", min_size=1, max_size=20)
VALUE = st.binary(max_size=40).map(lambda value: bytes(byte for byte in value if 0x20 <= byte != 0x7F).strip())


class EndToEndTests(SynchronousTestCase):
    """`end_to_end` keeps what is meant for the other end."""

    def test_hop_by_hop(self) -> None:
        """Every field of RFC 9110 §7.6.1, and what is for a proxy, is left out, in any spelling."""
        for name in (
            b"connection",
            b"keep-alive",
            b"proxy-authenticate",
            b"proxy-authorization",
            b"proxy-connection",
            b"te",
            b"trailer",
            b"transfer-encoding",
            b"upgrade",
        ):
            for spelling in (name, name.upper(), name.title()):
                self.assertEqual(end_to_end([(spelling, b"x"), (b"A", b"1")]), [(b"A", b"1")])

    def test_named_by_connection(self) -> None:
        """Fields that any `Connection` names are left out, whatever the spelling and the spaces."""
        fields = [
            (b"X-One", b"1"),
            (b"connection", b"close ,\tx-ONE"),
            (b"x-two", b"2"),
            (b"CONNECTION", b"X-Two,,"),
            (b"X-Three", b"3"),
        ]
        self.assertEqual(end_to_end(fields), [(b"X-Three", b"3")])

    def test_named_by_others(self) -> None:
        """What other fields for the next hop say names no fields."""
        fields = [(b"TE", b"x-one"), (b"Upgrade", b"x-one"), (b"Keep-Alive", b"x-one"), (b"X-One", b"1")]
        self.assertEqual(end_to_end(fields), [(b"X-One", b"1")])

    def test_length_is_never_left_out(self) -> None:
        """`Connection` cannot name what is for everybody; without its length, nobody knows where an answer ends."""
        fields = [(b"Connection", b"Content-Length, x"), (b"content-length", b"5"), (b"X", b"1")]
        self.assertEqual(end_to_end(fields), [(b"content-length", b"5")])

    def test_order_and_repetition(self) -> None:
        """What passes keeps its order, spelling, value and number."""
        fields = [(b"Set-Cookie", b"a"), (b"x-B", b" "), (b"set-cookie", b"a"), (b"Set-Cookie", b"\xff")]
        self.assertEqual(end_to_end(iter(fields)), fields)

    @settings(deadline=None)
    @given(st.lists(st.tuples(TOKEN.map(str.encode), VALUE)))
    def test_twice_is_once(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Two proxies in a row pass what one does, and nothing is added."""
        once = end_to_end(fields)
        self.assertEqual(end_to_end(once), once)
        self.assertTrue(all(field in fields for field in once))


class OutboundRequestTests(SynchronousTestCase):
    """The head that an upstream sees."""

    def test_shortest(self) -> None:
        """A request of the proxy's own has a Host, and says that its connection serves it alone."""
        self.assertEqual(
            request_to(b"/health", last=True).head(), b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )

    def test_upgrade(self) -> None:
        """A client that wants to leave HTTP says so to the upstream as well, in the spelling that all servers know."""
        self.assertEqual(
            request_to(upgrade=b"websocket").head(),
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )

    def test_whole(self) -> None:
        """The client's fields pass, except those that the proxy writes."""
        fields = [
            (b"host", b"other"),
            (b"Content-Length", b"77"),
            (b"Expect", b"100-continue"),
            (b"x-own", b"1"),
            (b"Accept-Encoding", b"br;q=1, odd"),
            (b"x-own", b"2"),
        ]
        request = request_to(b"//a%2F?b", method=b"PUT", fields=fields, client=b"192.0.2.7", body=b"12345")
        self.assertEqual(
            request.head(),
            b"PUT //a%2F?b HTTP/1.1\r\nHost: h\r\nx-own: 1\r\nAccept-Encoding: br;q=1, odd\r\nx-own: 2\r\n"
            b"X-Forwarded-For: 192.0.2.7\r\nContent-Length: 5\r\n\r\n",
        )

    def test_body(self) -> None:
        """An empty body has a length, no body has none."""
        self.assertIn(b"\r\nContent-Length: 0\r\n", request_to(body=b"").head())
        self.assertNotIn(b"Content-Length", request_to(body=None).head())

    def test_forwarded_for(self) -> None:
        """The client is added to those that proxies before us wrote."""
        fields = [(b"X-Forwarded-For", b"10.0.0.1, 10.0.0.2"), (b"x-forwarded-for", b"10.0.0.3")]
        head = request_to(fields=fields, client=b"2001:db8::1").head()
        self.assertEqual(head.lower().count(b"x-forwarded-for"), 1)
        self.assertIn(b"\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3, 2001:db8::1\r\n", head)

    def test_client_without_address(self) -> None:
        """Behind a UNIX socket, the client is only known from what the proxy before us wrote."""
        head = request_to(fields=[(b"X-Forwarded-For", b"10.0.0.1")], client=None).head()
        self.assertIn(b"\r\nX-Forwarded-For: 10.0.0.1\r\n", head)

    def test_connection_strips_nothing_of_ours(self) -> None:
        """`Connection` names the client's fields, not those that the proxy adds."""
        named = (b"Connection", b"close, Host, Content-Length, X-Forwarded-For, X-Own")
        fields = end_to_end([named, (b"X-Own", b"1"), (b"X-Forwarded-For", b"evil")])
        head = request_to(fields=fields, client=b"192.0.2.7", body=b"").head()
        own = b"Host: h\r\nX-Forwarded-For: 192.0.2.7\r\nContent-Length: 0"
        self.assertEqual(head, b"GET / HTTP/1.1\r\n" + own + b"\r\n\r\n")

    @settings(deadline=None)
    @given(st.lists(st.tuples(TOKEN.map(lambda name: f"X-{name}".encode()), VALUE)), st.none() | st.binary(max_size=9))
    def test_is_parsed_as_one_request(self, fields: list[tuple[bytes, bytes]], body: bytes | None) -> None:
        """An HTTP parser reads what was meant, and nothing else."""
        request = request_to(b"/a?b", method=b"POST", fields=fields, client=b"::1", body=body)
        seen = _read(request)
        self.assertEqual((seen.urls, seen.body), ([b"/a?b"], body or b""))
        own = [field for field in seen.fields if field[0].startswith(b"X-") and field[0] != b"X-Forwarded-For"]
        self.assertEqual(own, fields)


class AnswerHeadTests(SynchronousTestCase):
    """What the client sees of an answer's head."""

    def test_reason(self) -> None:
        """No control character of it reaches the client, the tab excepted."""
        reason = b"A\tB\xe9" + bytes(code for code in range(0x20) if code != 0x09) + b"\x7fC"
        self.assertEqual(AnswerHead(200, reason, ()).status_line, b"200 A\tB\xe9C\r\n")

    def test_events(self) -> None:
        """An nginx before us is asked to pass events on at once, however their type is spelled, and nothing else."""
        for name in (b"Content-Type", b"content-type"):
            lines = AnswerHead(200, b"OK", [(name, b"text/event-stream")]).end_to_end_lines
            self.assertEqual(lines, name + b": text/event-stream\r\nX-Accel-Buffering: no\r\n")
        for field in ((b"Content-Type", b"application/json"), (b"Accept", b"text/event-stream")):
            self.assertEqual(AnswerHead(200, b"OK", [field]).end_to_end_lines, b"%b: %b\r\n" % field)

    def test_leaving_http(self) -> None:
        """Which protocol comes next is for the client as well, in any spelling; elsewhere it is not."""
        for name in (b"Upgrade", b"upgrade"):
            fields = [(b"Connection", b"upgrade"), (name, b"websocket"), (b"X", b"1")]
            lines = AnswerHead(101, b"", fields).end_to_end_lines
            self.assertEqual(lines, b"X: 1\r\nConnection: Upgrade\r\n" + name + b": websocket\r\n")
            self.assertEqual(AnswerHead(200, b"", fields).end_to_end_lines, b"X: 1\r\n")


class _Seen:
    """What an HTTP server parses."""

    def __init__(self) -> None:
        self.urls: list[bytes] = []
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.urls.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data


def _read(request: OutboundRequest) -> _Seen:
    seen = _Seen()
    httptools.HttpRequestParser(seen).feed_data(request.head() + (request.body or b""))
    return seen
