"""Connections to an upstream, with real sockets: what its kernel hears of ours."""

from __future__ import annotations

import socket

from llama_swap.relay import pool
from tests.support_pool import ANSWER, PoolTestCase, ended, until

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
        connection.sendall(ANSWER[:-2])
        await until(lambda: sink.names == ["head"])
        self.assertEqual(unacknowledged(connection), 0)
        connection.sendall(ANSWER[-2:])
        await sink.over
        self.clock.advance(pool.KEPT)
        await until(lambda: ended(connection))


def unacknowledged(connection: socket.socket) -> int:
    """Return how many segments the other end has not acknowledged."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[UNACKNOWLEDGED], "little")
