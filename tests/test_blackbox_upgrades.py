"""WebSockets, and whatever else leaves HTTP, through `/upstream`."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_processes import wait_until

UPGRADE = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
ACCEPT = b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"


class Socket:
    """A client whose connection leaves HTTP."""

    def __init__(self, proxy: ProxyUnderTest, target: str = "/upstream/a/ws", *, behind: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", proxy.port), 20)
        self._received = b""
        self.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n".encode() + behind)

    def head(self) -> bytes:
        """Return the head of the answer."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head + b"\r\n"

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def is_stuck(self) -> bool:
        """Whether nothing more can be sent, for a tenth of a second: all buffers on the way are full."""
        return not select.select([], [self._socket], [], 0.1)[1]

    def take(self, size: int) -> bytes:
        """Return so many bytes."""
        while len(self._received) < size:
            self._receive()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def is_closed(self) -> bool:
        """Whether the other side closes, which is waited for, without a word."""
        return self._socket.recv(1) == b""

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        assert data, "the connection was closed"
        self._received += data


class UpgradeTests(SynchronousTestCase):
    """Tunnels to a model that sends back what it gets."""

    def test_frames(self) -> None:
        """A thousand frames of any bytes come back as they were, the first of them sent right behind the request."""
        frames = [bytes([0x82, 126]) + bytes([number % 256]) * (number * 7 % 3000) for number in range(1000)]
        with ProxyUnderTest(fake_models("a")) as proxy:
            client = Socket(proxy, behind=frames[0])
            head = client.head()
            self.assertTrue(head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"), head)
            self.assertIn(ACCEPT, head)
            self.assertEqual(client.take(len(frames[0])), frames[0])
            for frame in frames[1:]:
                client.send(frame)
                self.assertEqual(client.take(len(frame)), frame)
            client.close()
            proxy.journal.wait_for("client_gone")

    def test_large(self) -> None:
        """Whatever size passes, with somebody who reads late at the end."""
        data = bytes(range(256)) * 80_000
        with ProxyUnderTest(fake_models("a")) as proxy, ThreadPoolExecutor(1) as side:
            client = Socket(proxy)
            client.head()
            sending = side.submit(client.send, data)
            wait_until(lambda: sending.done() or client.is_stuck(), 20, "all is on its way, or the way is full")
            self.assertEqual(client.take(len(data)), data)
            sending.result()
            client.close()

    def test_holds_its_model(self) -> None:
        """A tunnel is a request in flight: no swap cuts it, and the next model waits for its end."""
        models = {"a": fake_model("a", ttl=1), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy, ThreadPoolExecutor(1) as side:
            client = Socket(proxy)
            client.head()
            asked = side.submit(proxy.served, "b")
            time.sleep(2)  # neither its own ttl nor the request for another model ends it
            client.send(b"still here")
            self.assertEqual(client.take(10), b"still here")
            self.assertEqual(proxy.running(), {"a": "ready"})
            client.close()
            self.assertEqual(asked.result(), "b")

    def test_holds_nothing(self) -> None:
        """With `ignoreWebsockets` tunnels do not count, against no limit, and end with their model: by ttl or swap."""
        ignoring = {"compat": {"ignoreWebsockets": True}}
        models = {
            "a": fake_model("a", concurrencyLimit=2, **ignoring),
            "b": fake_model("b"),
            "short": fake_model("short", ttl=1, **ignoring),
        }
        with ProxyUnderTest({"models": models}) as proxy:
            clients: list[Socket] = []
            for _ in range(3):
                clients.append(Socket(proxy))
                self.assertIn(b" 101 ", clients[-1].head())
            self.assertEqual(proxy.served("a"), "a")
            clients[0].send(b"still here")
            self.assertEqual(clients[0].take(10), b"still here")
            self.assertEqual(proxy.served("b"), "b")
            clients.append(Socket(proxy, "/upstream/short/ws"))
            clients[-1].head()
            for client in clients:
                self.assertTrue(client.is_closed())
                client.close()
            wait_until(lambda: proxy.running() == {}, 5, "the end of the last model")

    def test_refused(self) -> None:
        """A model that does not switch answers as ever, on a connection that stays usable."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo --no-upgrade")}}) as proxy:
            client = Socket(proxy, behind=b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = client.head()
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            [length] = re.findall(rb"\r\nContent-Length: (\d+)\r\n", head)
            self.assertIn("upgrade: websocket", json.loads(client.take(int(length)))["request"].lower())
            self.assertTrue(client.head().startswith(b"HTTP/1.1 200 "))
            client.close()

    def test_elsewhere(self) -> None:
        """On other routes, `Upgrade` is a field that goes no further."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo")}}) as proxy:
            answer = proxy.ask(
                "POST", "/v1/chat/completions", {"model": "a"}, {"Connection": "Upgrade", "Upgrade": "websocket"}
            )
            self.assertEqual(answer.status, 200)
            self.assertNotIn("upgrade", answer.json()["request"].lower())

    def test_model_dies(self) -> None:
        """When the model ends, so does the tunnel."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--exit-after 1.5")}}) as proxy:
            client = Socket(proxy)
            client.head()
            self.assertTrue(client.is_closed())
            client.close()

    def test_shutdown(self) -> None:
        """A proxy that is told to stop closes tunnels at once."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            client = Socket(proxy)
            client.head()
            self.assertLess(proxy.stop(), 5)
            self.assertTrue(client.is_closed())
            client.close()
