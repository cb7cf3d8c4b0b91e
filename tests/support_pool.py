"""A pool of connections to an upstream that the test plays by hand, with real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
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
    """A sink that tells when its answer is over, and the connection free again."""

    def __init__(self) -> None:
        super().__init__()
        self.over: Deferred[None] = Deferred()

    def end(self) -> None:
        super().end()
        reactor.callLater(0, self.over.callback, None)  # type: ignore[attr-defined]

    def broken(self, error: Exception) -> None:
        super().broken(error)
        self.over.callback(None)


async def until(true: Callable[[], bool]) -> None:
    """Let the reactor turn until something is true; the test's own timeout ends the wait."""
    while not true():
        await deferLater(reactor, 0.001)  # type: ignore[arg-type]


class PoolTestCase(TestCase):
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
        self.exchange(sink).start()
        return sink

    def exchange(self, sink: Waiting | None = None) -> Exchange:
        """Return an exchange that has not started."""
        return Exchange(request_to(method=b"POST", body=b"work"), sink or Waiting(), self.pool)

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
        """Wait for a request, or for nothing if the connection ends."""
        got: list[bytes] = []

        def try_it() -> bool:
            try:
                got.append(connection.recv(65536))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                got.append(b"")
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


def ended(connection: socket.socket) -> bool:
    """Whether the proxy has closed the connection."""
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
