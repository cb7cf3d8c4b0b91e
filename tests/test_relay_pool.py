"""Kept connections, with real sockets: what the kernel knows is what counts here."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from llama_swap.relay import pool
from llama_swap.relay.exchange import Exchange
from llama_swap.relay.pool import Pool
from tests.fakes_wire import Sink, request_to

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Waiting(Sink):
    """A sink that tells when its answer is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over: Deferred[None] = Deferred()

    def end(self) -> None:
        super().end()
        self.over.callback(None)

    def broken(self, error: Exception) -> None:
        super().broken(error)
        self.over.callback(None)


async def until(true: Callable[[], bool]) -> None:
    """Let the reactor turn until something is true; the test's own timeout ends the wait."""
    while not true():
        await deferLater(reactor, 0.001)  # type: ignore[arg-type]


class PoolTests(TestCase):
    """One upstream, spoken for by the test."""

    timeout = 20

    def setUp(self) -> None:
        """Listen; accept by hand."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.addCleanup(self.listener.close)
        self.clock = Clock()
        port = self.listener.getsockname()[1]
        self.pool = Pool(TCP4ClientEndpoint(reactor, "127.0.0.1", port), self.clock)

    def ask(self) -> Waiting:
        """Send a POST."""
        sink = Waiting()
        Exchange(request_to(method=b"POST", body=b"work"), sink, self.pool).start()
        return sink

    async def accept(self) -> socket.socket:
        """Return the next connection."""
        accepted: list[socket.socket] = []

        def try_it() -> bool:
            try:
                accepted.append(self.listener.accept()[0])
            except BlockingIOError:
                return False
            return True

        await until(try_it)
        accepted[0].setblocking(False)
        self.addCleanup(accepted[0].close)
        return accepted[0]

    async def request_on(self, connection: socket.socket) -> bytes:
        """Wait for a request."""
        got: list[bytes] = []

        def try_it() -> bool:
            try:
                got.append(connection.recv(65536))
            except BlockingIOError:
                return False
            return got[-1] == b"" or b"".join(got).endswith(b"work")

        await until(try_it)
        return b"".join(got)

    async def answered(self) -> socket.socket:
        """Let one exchange go well; return the upstream's end of its connection."""
        sink = self.ask()
        connection = await self.accept()
        await self.request_on(connection)
        connection.sendall(ANSWER)
        await sink.over
        self.assertEqual(sink.names, ["head", "data", "end"])
        return connection

    async def trusted(self) -> socket.socket:
        """Let the upstream leave a connection open for long enough; return its end of another one, which has rested."""
        await self.answered()
        self.clock.advance(pool.TRIAL)
        connection = await self.answered()
        self.clock.advance(2 * pool.REST)
        return connection

    def nobody_connects(self) -> bool:
        """Whether no connection waits to be accepted."""
        try:
            closing(self.listener.accept()[0]).close()
        except BlockingIOError:
            return True
        return False

    async def test_used_again(self) -> None:
        """After a rest, a connection carries the next request."""
        connection = await self.trusted()
        sink = self.ask()
        self.assertTrue((await self.request_on(connection)).startswith(b"POST"))
        connection.sendall(ANSWER)
        await sink.over
        self.assertTrue(self.nobody_connects())
        self.clock.advance(pool.KEPT)

    async def test_not_before_it_has_rested(self) -> None:
        """Right after an answer, its connection is not trusted yet."""
        await self.trusted()
        self.clock.advance(pool.KEPT)
        first = await self.answered()
        self.ask()
        second = await self.accept()
        self.assertTrue((await self.request_on(second)).startswith(b"POST"))
        self.assertRaises(BlockingIOError, first.recv, 1)
        self.clock.advance(pool.KEPT)
        second.close()

    async def test_not_for_long(self) -> None:
        """An idle connection is closed soon, and leaves no timer behind."""
        connection = await self.trusted()
        self.clock.advance(pool.KEPT)
        await until(lambda: _ended(connection))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_not_on_trial(self) -> None:
        """Until the upstream has left a connection open for a while, none is used again; only one is kept to see."""
        first = await self.answered()
        self.clock.advance(pool.KEPT)
        second = await self.answered()
        await until(lambda: _ended(second))
        self.clock.advance(pool.TRIAL - pool.KEPT - 0.01)
        third = await self.answered()
        await until(lambda: _ended(third))
        self.assertFalse(_ended(first))
        self.clock.advance(0.01)
        await until(lambda: _ended(first))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_closed_on_trial(self) -> None:
        """An upstream that closes a connection too soon is not trusted, and for a while not even tried."""
        connection = await self.answered()
        self.clock.advance(pool.TRIAL * 0.9)
        connection.close()
        await until(lambda: not self.pool._idle)
        for _ in range(3):
            connection = await self.answered()
            await until(lambda connection=connection: _ended(connection))  # type: ignore[misc]
            self.clock.advance(pool.TRIAL)
        self.clock.advance(pool.DOUBT)
        await self.trusted()
        self.assertIsNotNone(self.pool.take())
        self.clock.advance(pool.KEPT)

    async def test_closed_as_the_trial_ends(self) -> None:
        """The kernel has the last word about whether the trial was passed."""
        connection = await self.answered()
        connection.close()
        self.clock.advance(pool.TRIAL)  # in the same turn: Twisted has not looked since
        await self.answered()
        self.clock.advance(pool.REST)
        self.assertIsNone(self.pool.take())

    async def test_trust_is_lost(self) -> None:
        """One connection that the upstream closes too soon, and all that are idle are given up."""
        await self.trusted()
        self.clock.advance(pool.KEPT)
        sinks = [self.ask(), self.ask()]
        ends = [await self.accept(), await self.accept()]
        for end, sink in zip(ends, sinks, strict=True):
            await self.request_on(end)
            end.sendall(ANSWER)
            await sink.over
        ends[0].close()
        await until(lambda: _ended(ends[1]))
        self.assertEqual(len(self.pool._idle), 0)
        self.clock.advance(pool.KEPT)

    async def test_closed_by_the_upstream(self) -> None:
        """A connection that the upstream has closed is seen to be, even before Twisted reads of it."""
        connection = await self.trusted()
        connection.close()
        sink = self.ask()  # in the same turn: Twisted has not looked since
        fresh = await self.accept()
        await self.request_on(fresh)
        fresh.sendall(ANSWER)
        await sink.over
        self.assertEqual(sink.names, ["head", "data", "end"])
        self.clock.advance(pool.KEPT)

    async def test_at_most_once(self) -> None:
        """A request that arrived is not sent again, though its connection closes without an answer."""
        connection = await self.trusted()
        sink = self.ask()
        await self.request_on(connection)
        connection.close()
        await sink.over
        self.assertEqual(sink.names, ["broken"])
        self.assertTrue(self.nobody_connects())
        self.assertEqual(len(self.pool._idle), 0)
        self.clock.advance(pool.KEPT)

    async def test_sent_again_where_nothing_arrived(self) -> None:
        """A request that met a closed socket is sent again, on a new connection."""
        connection = await self.trusted()
        kept = self.pool.take()
        assert kept is not None
        connection.close()  # after the kernel was asked, before the request is on its way
        taken: Iterator[object] = iter([kept, None])
        self.patch(Pool, "take", lambda pool: next(taken))
        sink = self.ask()
        fresh = await self.accept()
        self.assertTrue((await self.request_on(fresh)).startswith(b"POST"))
        fresh.sendall(ANSWER)
        await sink.over
        self.assertEqual(sink.names, ["head", "data", "end"])
        self.clock.advance(pool.KEPT)

    async def test_unasked_bytes(self) -> None:
        """A connection on which the upstream speaks without being asked is not used again."""
        connection = await self.trusted()
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        await until(lambda: _ended(connection))
        self.assertIsNone(self.pool.take())
        self.clock.advance(pool.KEPT)


def _ended(connection: socket.socket) -> bool:
    """Whether the proxy has closed the connection."""
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
