"""Clients that nobody wants: doubtful, slow, greedy or absent ones.  They cost the others nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import resource
import socket
import struct
import time
from collections.abc import Iterator
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import exchange
from tests.support_processes import cpu_seconds, open_files, resident_memory, wait_until
from tests.support_smuggling import BODY, DOUBTFUL_CHUNKS, DOUBTFUL_HEADS, request

CHAT = request(b"Content-Length: 14") + BODY
HEALTH = request(line=b"GET /health HTTP/1.1")

HAVE_TO_WAIT = "clients have to wait, since no file descriptors are left for them"


@contextlib.contextmanager
def sockets(proxy: ProxyUnderTest, count: int, *, buffer: int | None = None) -> Iterator[list[socket.socket]]:
    """Connect so many clients; `buffer` is the room that each has for what it does not read."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            if buffer is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.connect(("127.0.0.1", proxy.port))
            clients.append(client)
        yield clients


class DoubtfulTests(SynchronousTestCase):
    """Requests that two servers could read in two ways."""

    def test_nothing_reaches_the_upstream(self) -> None:
        """Each is answered with 400, once; neither it nor what follows it reaches a model that is ready to serve."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            before = len(proxy.journal.events("req"))
            for doubtful in (
                *(head + BODY for head in DOUBTFUL_HEADS),
                *(request(b"Transfer-Encoding: chunked") + chunks % BODY for chunks in DOUBTFUL_CHUNKS),
            ):
                received = exchange(proxy.port, doubtful + CHAT)
                self.assertTrue(received.startswith(b"HTTP/1.1 400 "), (doubtful, received[:100]))
                self.assertEqual(received.count(b"HTTP/1.1 "), 1, doubtful)
                self.assertEqual(json.loads(received.partition(b"\r\n\r\n")[2])["src"], "llama-swap")
            self.assertEqual(len(proxy.journal.events("req")), before)
            self.assertEqual(proxy.served("a"), "a")

    def test_large_heads(self) -> None:
        """60 KiB of fields are fine; 70 KiB, or 300 fields, are 431."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            for status, fields in (
                (200, b"X: %b\r\n" % (b"x" * 61440)),
                (431, b"X: %b\r\n" % (b"x" * 71680)),
                (431, b"X: 1\r\n" * 300),
            ):
                answer = exchange(proxy.port, HEALTH[:-2] + fields + b"Connection: close\r\n\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer[:100])

    def test_chunks_become_a_length(self) -> None:
        """A body in chunks reaches the model with one length, and no chunks."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--echo")}}) as proxy:
            chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in BODY) + b"0\r\nX-Trailer: 1\r\n\r\n"
            received = exchange(proxy.port, request(b"Transfer-Encoding: chunked", b"Connection: close") + chunks)
            seen = json.loads(received.partition(b"\r\n\r\n")[2])["request"]
            self.assertEqual(seen.lower().count("content-length: 14\r\n"), 1)
            self.assertNotIn("transfer-encoding", seen.lower())
            self.assertTrue(seen.endswith("\r\n\r\n" + BODY.decode()))


class SlowTests(SynchronousTestCase):
    """Clients that take their time."""

    def test_slow_heads(self) -> None:
        """Clients whose heads drip are all closed within 15 s; meanwhile others are answered at once."""
        with ProxyUnderTest(fake_models("a")) as proxy, sockets(proxy, 200) as clients:
            began = time.monotonic()
            waits = []
            while time.monotonic() - began < 5.5:
                for client in clients:
                    client.send(b"G")
                for _ in range(50):
                    waits.append(proxy.get("/health").seconds)
                    time.sleep(0.05)
            self.assertLess(max(waits), 1)
            for client in clients:
                client.settimeout(began + 15 - time.monotonic())
                self.assertEqual(client.recv(1), b"")

    def test_slow_readers(self) -> None:
        """A hundred clients that do not read ten megabytes each take little memory, and leave nothing behind."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--raw big", concurrencyLimit=200)}}) as proxy:
            body = b"x" * 10_000_000
            (proxy.directory / "big").write_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.assertEqual(len(proxy.get("/upstream/a/").body), len(body))
            files, memory = open_files(proxy.pid), resident_memory(proxy.pid)
            with sockets(proxy, 100, buffer=4096) as clients:
                for client in clients:
                    client.sendall(request(line=b"GET /upstream/a/ HTTP/1.1"))
                proxy.journal.wait_for("req", count=101, timeout=20)
                wait_until(lambda: self.is_idle(proxy), 30, "an idle proxy")
                self.assertLess(resident_memory(proxy.pid) - memory, 40e6)
            wait_until(lambda: open_files(proxy.pid) <= files + 2, 5, "no more files than before")
            self.assertEqual(proxy.get("/health").status, 200)

    def is_idle(self, proxy: ProxyUnderTest) -> bool:
        """Whether the proxy has nothing to do, for half a second."""
        before = cpu_seconds(proxy.pid)
        time.sleep(0.5)
        return cpu_seconds(proxy.pid) - before < 0.05


class AbsentTests(SynchronousTestCase):
    """Clients that have left, or will not stop sending."""

    def test_pipelined(self) -> None:
        """A client that leaves is noticed, also behind requests that it had sent ahead."""
        for behind in (HEALTH, CHAT * 100):
            with ProxyUnderTest({"models": {"a": fake_model("a", "--hold")}}) as proxy:
                client = socket.create_connection(("127.0.0.1", proxy.port), 10)
                client.sendall(CHAT + behind)
                proxy.journal.wait_for("req")
                client.close()
                proxy.journal.wait_for("client_gone")
                self.assertEqual(len(proxy.journal.events("req")), 1)

    def test_greedy(self) -> None:
        """A client that sends on and on behind a running request loses both."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--hold")}}) as proxy, sockets(proxy, 1) as [client]:
            client.sendall(CHAT)
            proxy.journal.wait_for("req")
            with contextlib.suppress(ConnectionError):
                client.sendall(b"x" * 20_000)
            proxy.journal.wait_for("client_gone")
            with contextlib.suppress(ConnectionError):
                self.assertEqual(client.recv(1), b"")

    def test_at_any_moment(self) -> None:
        """Clients that leave whenever they like, politely or not, neither break anything nor leave anything behind."""
        model = fake_model("a", "--load-delay 0.5 --stream 20@5", concurrencyLimit=1000)
        body = b'{"model": "a", "stream": true}'
        whole = request(b"Content-Length: %d" % len(body)) + body
        random = Random(7)
        with ProxyUnderTest({"models": {"a": model}}) as proxy:
            files = open_files(proxy.pid)
            for number in range(500):
                client = socket.create_connection(("127.0.0.1", proxy.port), 10)
                client.sendall(whole[: random.randrange(len(whole))] if number % 4 == 0 else whole)
                time.sleep(random.uniform(0, 0.02))
                if number % 3 == 0:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                client.close()
            self.assertEqual(proxy.served("a"), "a")
            wait_until(lambda: open_files(proxy.pid) <= files + 6, 5, "no more files than before")

    def test_in_order(self) -> None:
        """Requests sent ahead are answered in order."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--first-byte-delay 0.2")}}) as proxy:
            last = request(b"Connection: close", line=b"GET /nowhere HTTP/1.1")
            received = exchange(proxy.port, CHAT + HEALTH + CHAT + last)
            statuses = [b"200 As Wanted", b"200 OK", b"200 As Wanted", b"404 Not Found"]
            self.assertEqual(re.findall(rb"HTTP/1\.1 ([^\r]+)", received), statuses)


class ManyTests(SynchronousTestCase):
    """More clients than there is room for."""

    def test_no_files_left(self) -> None:
        """Where no file is left for more clients they wait, at no cost; who is in is served, and later all are."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            inside = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
            self.addCleanup(inside.close)
            self.assertEqual(self.asked(inside, "GET", "/health"), 200)
            self.allow_files(proxy, 64)
            with sockets(proxy, 300):
                proxy.wait_for_log(HAVE_TO_WAIT)
                self.assert_idle(proxy)
                self.assertEqual(self.asked(inside, "POST", "/v1/chat/completions", b'{"model": "a"}'), 200)
            wait_until(lambda: self.is_served(proxy), 10, "room again")
            self.assertEqual(proxy.log().count(HAVE_TO_WAIT), 1)

    def test_not_one_file(self) -> None:
        """Where not even one file can be had, so that nobody could be turned away, it is the same."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            before = self.allow_files(proxy, 3)
            with sockets(proxy, 3):
                proxy.wait_for_log(HAVE_TO_WAIT)
                self.assert_idle(proxy)
                self.allow_files(proxy, before)
                self.assertEqual(proxy.served("a"), "a")
            self.assertEqual(proxy.log().count(HAVE_TO_WAIT), 1)

    def allow_files(self, proxy: ProxyUnderTest, count: int) -> int:
        """Let the proxy have so many file descriptors; return how many it might have before."""
        before, most = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (count, most))
        return before

    def assert_idle(self, proxy: ProxyUnderTest) -> None:
        """Check that clients who wait cost next to nothing."""
        before = cpu_seconds(proxy.pid)
        time.sleep(1)  # in which it does next to nothing
        self.assertLess(cpu_seconds(proxy.pid) - before, 0.2)

    def asked(self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> int:
        """Return the status of the answer on a connection that stays open."""
        connection.request(method, path, body)
        with connection.getresponse() as answer:
            answer.read()
            return answer.status

    def is_served(self, proxy: ProxyUnderTest) -> bool:
        """Whether the model answers."""
        try:
            return proxy.served("a") == "a"
        except (OSError, AssertionError):
            return False
