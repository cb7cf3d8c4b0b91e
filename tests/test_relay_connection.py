"""Connections to an upstream, with real sockets: what its kernel hears of ours."""

from __future__ import annotations

import socket
import struct

from llama_swap.relay import pool
from tests.support_pool import ANSWER, PoolTestCase, Waiting, ended, until

UNACKNOWLEDGED = slice(24, 28)
"""Where Linux's `struct tcp_info` (linux/tcp.h) has `tcpi_unacked`."""


class AcknowledgingTests(PoolTestCase):
    """An upstream must not have to wait before it may send a small piece behind a small piece."""

    async def test_head_alone(self) -> None:
        """A head that comes without its body is acknowledged at once, also in the midst of a dialogue."""
        connection = await self.trusted()
        for _ in range(3):  # the kernel comes to expect that each answer is followed by a request
            sink = self.ask()
            await self.request_on(connection)
            connection.sendall(ANSWER)
            await sink.over
            self.clock.advance(0.01)
        sink = self.ask()
        await self.request_on(connection)
        await self.acknowledged_before_the_rest(connection, sink)

    async def test_first_words(self) -> None:
        """So it is over a new connection, where the kernel does so by itself."""
        sink = self.ask()
        connection = await self.accept()
        await self.request_on(connection)
        await self.acknowledged_before_the_rest(connection, sink)

    async def acknowledged_before_the_rest(self, connection: socket.socket, sink: Waiting) -> None:
        """Answer in two pieces, of which the second waits for an acknowledgement of the first."""
        connection.sendall(ANSWER[:-2])
        await until(lambda: sink.names == ["head"])
        self.assertEqual(unacknowledged(connection), 0)
        connection.sendall(ANSWER[-2:])
        await sink.over
        self.clock.advance(pool.TRIAL)
        await until(lambda: ended(connection))


class ResetTests(PoolTestCase):
    """Connections that end without a word."""

    async def test_reset_by_the_upstream(self) -> None:
        """Whoever resets one that is idle is in doubt: with it go all the others."""
        await self.trusted()
        self.clock.advance(pool.KEPT)
        sinks = [self.ask(), self.ask()]
        first, second = await self.accept(), await self.accept()
        for connection, sink in ((first, sinks[0]), (second, sinks[1])):
            await self.request_on(connection)
            connection.sendall(ANSWER)
            await sink.over
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        await until(lambda: ended(second))
        self.assertEqual(len(self.pool._idle), 0)
        self.clock.advance(pool.KEPT)


def unacknowledged(connection: socket.socket) -> int:
    """Return how many segments the other end has not acknowledged."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[UNACKNOWLEDGED], "little")
