"""Kept connections, with real sockets: what the kernel knows is what counts here."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.threads import deferToThread

from llama_swap.relay import pool
from llama_swap.relay.local import LoopbackEndpoint
from llama_swap.relay.pool import Pool
from tests.support_pool import ANSWER, PoolTestCase, ended, until

STREAMED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


class PoolTests(PoolTestCase):
    """What is kept, and for how long."""

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

    async def test_rest_after_chunks(self) -> None:
        """After an answer in chunks, a close may take longer to show; who has rested is taken before who rests."""
        await self.trusted()
        self.clock.advance(pool.KEPT)
        sinks = [self.ask(), self.ask()]
        streamed, whole = await self.accept(), await self.accept()
        for end, sink, answer in ((streamed, sinks[0], STREAMED), (whole, sinks[1], ANSWER)):
            await self.request_on(end)
            end.sendall(answer)
            await sink.over
        self.clock.advance(pool.REST)
        for expected in (whole, None):
            sink = self.ask()
            end = expected or await self.accept()
            self.assertTrue((await self.request_on(end)).startswith(b"POST"))
            end.sendall(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await sink.over
        for rest in (pool.REST_AFTER_CHUNKS, pool.REST):  # now it is known to leave them open
            self.clock.advance(rest)
            sink = self.ask()
            self.assertTrue((await self.request_on(streamed)).startswith(b"POST"))
            streamed.sendall(STREAMED)
            await sink.over
        streamed.close()
        await until(lambda: not self.pool._idle)
        self.assertFalse(self.pool._trusted_after_chunks)
        self.clock.advance(pool.KEPT)

    async def test_not_for_long(self) -> None:
        """An idle connection is closed soon, and leaves no timer behind."""
        connection = await self.trusted()
        self.clock.advance(pool.KEPT)
        await until(lambda: ended(connection))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_not_on_trial(self) -> None:
        """Until the upstream has left a connection open for a while, none is used again; only one is kept to see."""
        first = await self.answered()
        self.clock.advance(pool.KEPT)
        second = await self.answered()
        await until(lambda: ended(second))
        self.clock.advance(pool.TRIAL - pool.KEPT - 0.01)
        third = await self.answered()
        await until(lambda: ended(third))
        self.assertFalse(ended(first))
        self.clock.advance(0.01)
        await until(lambda: ended(first))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_closed_on_trial(self) -> None:
        """An upstream that closes a connection too soon is not trusted, and for a while not even tried."""
        connection = await self.answered()
        self.clock.advance(pool.TRIAL * 0.9)
        connection.close()
        await until(lambda: not self.pool._idle)
        for _ in range(3):
            connection = await self.answered()
            await until(lambda connection=connection: ended(connection))  # type: ignore[misc]
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
        await until(lambda: ended(ends[1]))
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
        await until(lambda: ended(connection))
        self.assertIsNone(self.pool.take())
        self.clock.advance(pool.KEPT)


class GoodbyeTests(PoolTestCase):
    """How an upstream learns that a connection is not needed any more."""

    async def test_end(self) -> None:
        """It reads the end, and no reset, which it would take for a failure."""
        idle = await self.trusted()
        self.clock.advance(pool.KEPT)
        surplus = await self.answered()
        self.pool.doubt()
        not_kept = await self.answered()
        for connection in (idle, surplus, not_kept):
            connection.settimeout(10)
            self.assertEqual(await deferToThread(connection.recv, 1), b"")


class LoopbackGoodbyeTests(GoodbyeTests):
    """The same over connections of our own making."""

    def setUp(self) -> None:
        """See `PoolTestCase.setUp`."""
        super().setUp()
        there = IPv4Address("TCP", *self.listener.getsockname())
        self.pool = Pool(LoopbackEndpoint(reactor, [there], 5.0), self.clock)
