"""Thousands of clients at once: a few may wait, the others learn so at once, and memory stays bounded."""

from __future__ import annotations

import json
import resource
import socket
import statistics
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_client import ask
from tests.support_processes import resident_memory, wait_until

CLIENTS = 5000
QUESTION = json.dumps({"model": "a", "messages": [{"role": "user", "content": "x" * 2000}]}).encode()
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
    len(QUESTION),
    QUESTION,
)


class WaitingTests(SynchronousTestCase):
    """5,000 clients of a model that takes long to load."""

    def setUp(self) -> None:
        """Make room for their sockets."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = CLIENTS + 1000
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise SkipTest(f"needs {needed} open files (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def flood(self, limits: dict[str, Any]) -> tuple[int, float, float]:
        """Return how many were refused, how much memory the rest takes in MB, and how long a refusal takes in s."""
        clients: list[socket.socket] = []
        with ProxyUnderTest({"models": {"a": fake_model("a", "--load-delay 60", **limits)}}) as proxy:
            before = resident_memory(proxy.pid)
            try:
                for _ in range(CLIENTS):
                    clients.append(socket.create_connection(("127.0.0.1", proxy.port), 20))
                    clients[-1].sendall(REQUEST)
                refused = wait_until(lambda: self.refused(clients, CLIENTS - limits.get("concurrencyLimit", 10)), 20)
                grown = (resident_memory(proxy.pid) - before) / 1e6
                answers = [ask(proxy.port, "POST", "/v1/chat/completions", QUESTION) for _ in range(20)]
                self.assertEqual({answer.status for answer in answers}, {429})
                self.assertEqual({answer.headers["Retry-After"] for answer in answers}, {"1"})
                self.assertEqual(proxy.get("/health").status, 200)
                return refused, grown, statistics.median(answer.seconds for answer in answers)
            finally:
                for client in clients:
                    client.close()

    def refused(self, clients: list[socket.socket], expected: int) -> int | None:
        """Return how many have their refusal already, if they are as many as expected."""
        count = 0
        for client in clients:
            client.setblocking(False)
            try:
                count += client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 429"
            except BlockingIOError:
                continue
        return count if count == expected else None

    def test_most_are_refused(self) -> None:
        """As a model's limit says; and refusals cost next to nothing."""
        refused, grown, seconds = self.flood({})
        self.assertEqual(refused, CLIENTS - 10)
        self.assertLess(grown, 150)
        self.assertLess(seconds, 0.1)

    def test_all_may_wait(self) -> None:
        """With limits that high, all wait, and take little."""
        refused, grown, seconds = self.flood({"concurrencyLimit": CLIENTS - 1})
        self.assertEqual(refused, 1)
        self.assertLess(grown, 150)
        self.assertLess(seconds, 0.1)
