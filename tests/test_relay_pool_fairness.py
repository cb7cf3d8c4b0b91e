"""Kept connections to a server that has a thread for each: nobody may starve behind them."""

from __future__ import annotations

import socket

from llama_swap.relay import pool
from llama_swap.relay.pool import Pool
from tests.support_pool import ANSWER, PoolTestCase, Waiting, ended, until

HEAD, BODY = ANSWER[:-2], ANSWER[-2:]


class FairnessTests(PoolTestCase):
    """A request over a new connection waits for the first byte of its answer, while others are kept."""

    def tearDown(self) -> None:
        """Nothing stays behind."""
        self.clock.advance(pool.TRIAL)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.pool._askers), 0)

    async def waiting(self) -> tuple[Waiting, socket.socket]:
        """Send a request over a new connection; return who waits, and the upstream's end."""
        sink = self.ask()
        connection = await self.accept()
        await self.request_on(connection)
        return sink, connection

    async def answer(self, sink: Waiting, connection: socket.socket) -> None:
        """Let an exchange end well."""
        connection.sendall(ANSWER)
        await sink.over
        self.assertEqual(sink.names, ["head", "data", "end"])

    async def test_nobody_starves(self) -> None:
        """A server with one thread, which a diligent client keeps busy, gets to the request of another client."""
        served = await self.trusted()
        diligent, starving = self.ask(), self.ask()
        for _ in range(50):
            if not await self.request_on(served):
                break
            await self.answer(diligent, served)
            self.clock.advance(2 * pool.REST)
            diligent = self.ask()
        else:
            self.fail("its thread is never free")
        for sink in starving, diligent:
            connection = await self.accept()
            await self.request_on(connection)
            await self.answer(sink, connection)

    async def test_idle_ones_make_way(self) -> None:
        """What is idle is closed when a request has waited for some time, though no other ends."""
        kept = await self.trusted()
        first = self.ask()
        await self.request_on(kept)
        waiting = await self.waiting()
        await self.answer(first, kept)
        self.clock.advance(pool.PATIENCE * 0.9)
        self.assertEqual(len(self.pool._idle), 1)
        self.clock.advance(pool.PATIENCE)
        await until(lambda: ended(kept))
        await self.answer(*waiting)

    async def test_also_on_trial(self) -> None:
        """So is the one that is only watched."""
        watched = await self.answered()
        waiting = await self.waiting()
        self.clock.advance(pool.PATIENCE)
        await until(lambda: ended(watched))
        await self.answer(*waiting)

    async def test_others_do_not_come_back(self) -> None:
        """What is in use then is closed when it comes back; after a while, connections are used again."""
        kept = await self.trusted()
        first = self.ask()
        await self.request_on(kept)
        waiting = await self.waiting()
        self.clock.advance(pool.PATIENCE)
        await self.answer(first, kept)
        await until(lambda: ended(kept))
        await self.answer(*waiting)
        await until(lambda: ended(waiting[1]))
        self.clock.advance(pool.MAKE_WAY)
        await self.answered()
        self.clock.advance(pool.REST)
        again = self.pool.take()
        assert again is not None
        again.abort()

    async def test_who_hears_does_not_starve(self) -> None:
        """An answer that has begun has a thread."""
        await self.answered()
        sink, connection = await self.waiting()
        connection.sendall(HEAD)
        await until(lambda: bool(sink.names))
        self.clock.advance(pool.PATIENCE)
        self.assertEqual(len(self.pool._idle), 1)
        connection.sendall(BODY)
        await sink.over

    async def test_what_was_not_read_yet(self) -> None:
        """The same of an answer that only the kernel knows of: it is the proxy that was slow."""
        await self.answered()
        sink, connection = await self.waiting()
        connection.sendall(HEAD)
        self.clock.advance(pool.PATIENCE)  # in the same turn: Twisted has not looked since
        self.assertEqual(len(self.pool._idle), 1)
        connection.sendall(BODY)
        await sink.over

    async def test_who_has_left_does_not_starve(self) -> None:
        """A request that nobody waits for any more keeps nothing from being kept."""
        kept = await self.trusted()
        first = self.ask()
        await self.request_on(kept)
        left = self.exchange()
        left.start()
        connection = await self.accept()
        left.abort()
        await until(lambda: ended(connection))
        self.clock.advance(pool.PATIENCE)
        await self.answer(first, kept)
        self.assertEqual(len(self.pool._idle), 1)


class DearTests(PoolTestCase):
    """Connections that take a handshake."""

    def setUp(self) -> None:
        """Have a pool of such ones."""
        super().setUp()
        self.pool = Pool(self.pool._endpoint, self.clock, dear=True)

    async def test_make_no_way(self) -> None:
        """They are kept while another request waits, and for longer than others; then none is left, nor a timer."""
        kept = await self.trusted()
        self.assertIsNotNone(taken := self.pool.take())
        waiting = self.ask()
        connection = await self.accept()
        await self.request_on(connection)
        assert taken is not None
        self.pool.keep(taken)
        self.clock.advance(pool.DEAR_KEPT * 0.9)
        self.assertEqual(len(self.pool._idle), 1)
        connection.sendall(ANSWER)
        await waiting.over
        sink = self.ask()
        await self.request_on(kept)
        kept.sendall(ANSWER)
        await sink.over
        self.assertTrue(self.nobody_connects())
        self.clock.pump([pool.DEAR_KEPT] * 2)
        await until(lambda: ended(kept) and ended(connection))
        self.assertEqual(self.clock.getDelayedCalls(), [])
