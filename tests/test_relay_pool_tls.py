"""Kept connections over TLS: the same rules hold, and the kernel is asked about what lies below."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS

from llama_swap.relay import connection, pool
from llama_swap.relay.connection import Acks
from llama_swap.relay.exchange import Exchange
from llama_swap.relay.pool import Pool
from tests import test_relay_pool
from tests.fakes_wire import request_to
from tests.support_pool import ANSWER, Waiting, ended, until
from tests.support_tls import make_certificates


class Secured:
    """The upstream's end of a connection, with the manners of a plain socket that does not block."""

    def __init__(self, plain: Any, context: ssl.SSLContext) -> None:
        plain.setblocking(False)
        self._socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)

    def shakes_hands(self) -> bool:
        """Go on with the handshake; return whether it is done."""
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def recv(self, size: int) -> bytes:
        """See `socket.recv`."""
        try:
            return self._socket.recv(size)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None

    def sendall(self, data: bytes) -> None:
        """See `socket.sendall`."""
        self._socket.sendall(data)

    def say_it_ends(self) -> None:
        """Send a close_notify."""
        with contextlib.suppress(
            ssl.SSLWantReadError, OSError, ValueError
        ):  # no answer yet, or nobody there, at either end
            self._socket.unwrap()

    def close(self) -> None:
        """Close as a server should."""
        self.say_it_ends()
        self._socket.close()

    def break_off(self) -> None:
        """Close without a word."""
        self._socket.close()


class TLSPoolTests(test_relay_pool.PoolTests):
    """All that holds for plain connections, and what only TLS has."""

    def setUp(self) -> None:
        """Have a certificate as well."""
        super().setUp()
        directory = Path(self.mktemp())
        directory.mkdir()
        files = make_certificates(directory)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(files.certificate, files.key)
        authority = Certificate.loadPEM(Path(files.authority).read_bytes())
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", self.listener.getsockname()[1])
        options = optionsForClientTLS("127.0.0.1", trustRoot=authority)
        self.pool = Pool(wrapClientTLS(options, plain), self.clock)

    async def accept(self) -> Any:
        """Return the next connection, when both ends trust each other."""
        secured = Secured(await super().accept(), self.context)
        await until(secured.shakes_hands)
        self.addCleanup(secured.close)
        return secured

    async def test_ten_requests(self) -> None:
        """One handshake does for any number of requests, as long as none waits for long."""
        connection = await self.trusted()
        for _ in range(10):
            sink = self.ask()
            self.assertTrue((await self.request_on(connection)).startswith(b"POST"))
            connection.sendall(ANSWER)
            await sink.over
            self.clock.advance(2 * pool.REST)
        self.assertTrue(self.nobody_connects())
        self.clock.advance(pool.KEPT)

    async def test_told_to_end(self) -> None:
        """A connection that is to end is not used any more, though it is still there."""
        connection = await self.trusted()
        connection.say_it_ends()
        self.assertIsNone(self.pool.take())
        self.clock.advance(pool.KEPT)

    async def test_told_to_end_behind_the_answer(self) -> None:
        """Not even if that came together with the end of the answer."""
        connection = await self.trusted()
        sink = self.ask()
        await self.request_on(connection)
        connection.sendall(ANSWER)
        connection.say_it_ends()
        await sink.over
        await until(lambda: not self.pool._idle)
        self.assertIsNone(self.pool.take())

    async def test_answered_too_soon(self) -> None:
        """Where the answer comes before all of the request is sent, the connection ends."""
        sink = Waiting()
        Exchange(request_to(method=b"POST", body=b"x" * 8_000_000), sink, self.pool).start()
        end = await self.accept()
        end.sendall(ANSWER)
        await sink.over
        self.assertEqual((sink.names, len(self.pool._idle)), (["head", "data", "end"], 0))

    async def test_not_encrypted_yet(self) -> None:
        """So it does if there is anything that TLS holds back."""
        connection = await self.trusted()
        kept = self.pool.take()
        assert kept is not None
        self.assertTrue(kept.release())
        kept.transport.write(b"more")
        self.assertFalse(kept.release())
        await until(kept.release)
        kept.abort()
        await until(lambda: ended(connection))

    async def test_broken_off(self) -> None:
        """Where the upstream only vanishes, nobody knows whether it had read the request."""
        connection = await self.trusted()
        sink = self.ask()
        await self.request_on(connection)
        connection.break_off()
        await sink.over
        self.assertEqual(sink.names, ["broken"])
        self.assertTrue(self.nobody_connects())

    async def test_cannot_be_known(self) -> None:
        """Nor where the kernel cannot be asked: then a request is sent once."""
        for broken in ("bytes_acked", "dup"):
            connection_ = await self.trusted()
            kept = self.pool.take()
            assert kept is not None
            if broken == "dup":
                self.patch(connection.Acks, "of", lambda _: None)
            else:
                self.patch(connection, "bytes_acked", lambda _: None)
            connection_.close()
            taken = iter([kept, None])
            patched = self.patch(Pool, "take", lambda pool, taken=taken: next(taken))
            sink = self.ask()
            await sink.over
            self.assertEqual(sink.names, ["broken"])
            patched.restore()
            self.clock.advance(pool.DOUBT)

    async def test_no_file_left(self) -> None:
        """Where there is no file for it, no twin of the socket is made."""

        class Full:
            def fileno(self) -> int:
                return -1  # cannot be duplicated, like any other when there is no room

            def getsockopt(self, *_: int) -> bytes:
                return bytes(connection._BYTES_ACKED.size)

        self.assertIsNone(Acks.of(Full()))  # type: ignore[arg-type]
