"""A client's connection, and bytes that are almost requests."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from tests.fakes_web import site_of
from tests.fakes_wire import Client
from tests.support_smuggling import BODY, request
from tests.test_server_channel import Root

STREAM = (
    request(line=b"GET /now/1 HTTP/1.1")
    + request(b"Content-Length: 14", line=b"POST /now/2 HTTP/1.1")
    + BODY
    + request(b"Transfer-Encoding: chunked", line=b"POST /now/3 HTTP/1.1")
    + b"a;x=y\r\n"
    + BODY[:10]
    + b"\r\n4\r\n"
    + BODY[10:]
    + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
"""Three requests."""
PIECES = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\0",
    b"\xff",
    b"0",
    b"1",
    b"e",
    b"-",
    b"+",
    b"x",
]
PLACES = st.integers(0, len(STREAM))


class Prompt(Root):
    """Answers whatever comes, at once."""

    def render(self, request: Request) -> Any:
        """See `IResource.render`."""
        super().render(request)
        return b"ok"


class FuzzTests(SynchronousTestCase):
    """Three requests, with pieces of them replaced."""

    def sees(self, stream: bytes, cuts: set[int]) -> tuple[list[bytes], list[bytes], list[bytes | None]]:
        """Return the statuses that the client gets, and the targets and bodies that the routes get."""
        root, clock = Prompt(), Clock()
        client = Client(site_of(root, clock))
        places = [0, *sorted(cut for cut in cuts if 0 < cut < len(stream)), len(stream)]
        for start, end in pairwise(places):
            client.send(stream[start:end])
        statuses = re.findall(rb"HTTP/1\.[01] (\d+) ", client.wire.take())
        client.leave()
        self.assertEqual(clock.getDelayedCalls(), [])
        return statuses, root.seen, root.bodies

    @example([(0, 0, b"\r\n\r\n")], {2})
    @settings(deadline=None, max_examples=400)
    @given(st.lists(st.tuples(PLACES, st.integers(0, 4), st.sampled_from(PIECES)), max_size=3), st.sets(PLACES))
    def test_almost_requests(self, changes: list[tuple[int, int, bytes]], cuts: set[int]) -> None:
        """Nothing breaks; the packets do not matter; no request comes of nothing; nothing is read behind an error."""
        stream = STREAM
        for place, length, piece in changes:
            stream = stream[:place] + piece + stream[place + length :]
        statuses, seen, bodies = whole = self.sees(stream, set())
        self.assertEqual(self.sees(stream, cuts), whole)
        self.assertLessEqual(len(seen), 3)
        refusals = statuses[len(seen) :]
        self.assertEqual(statuses[: len(seen)], [b"200"] * len(seen))
        self.assertIn(refusals, ([], [b"400"], [b"413"]))
        if not changes:
            self.assertEqual((seen, bodies), ([b"/now/1", b"/now/2", b"/now/3"], [None, BODY, BODY]))

    def test_split_at_every_byte(self) -> None:
        """Cut in two at any byte, it is the same."""
        whole = self.sees(STREAM, set())
        self.assertEqual(whole[0], [b"200"] * 3)
        for cut in range(1, len(STREAM)):
            self.assertEqual(self.sees(STREAM, {cut}), whole)
