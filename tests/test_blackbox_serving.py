"""While a model serves: limits, clients that leave, answers that break, and the end of unused models."""

from __future__ import annotations

import json
import time
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_client import CUT, Stream, at_once
from tests.support_processes import open_files, wait_until


def events_of(stream: Stream) -> list[bytes]:
    """Return the data of all events, read to the end."""
    return [data for _, data in stream.events()]


class ServingTests(SynchronousTestCase):
    """Requests under way."""

    def test_swap_cuts_no_stream(self) -> None:
        """A request for another model waits until the running answer has ended."""
        models = {"a": fake_model("a", "--stream 5@100"), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy, at_once(1) as clients, proxy.stream("a") as stream:
            other = clients.submit(proxy.served, "b")
            events = list(stream.events())
            self.assertEqual((len(events), events[-1][1]), (7, b"[DONE]"))
            self.assertEqual(other.result(), "b")
            last = json.loads(events[-2][1])["t"]
            self.assertGreater(proxy.journal.events("start", "b")[0]["t"], last)

    def test_concurrency_limit(self) -> None:
        """Of ten at once two are served, the others are refused with 429; later there is room again."""
        model = fake_model("a", "--load-delay 0.3 --first-byte-delay 0.5", concurrencyLimit=2)
        with ProxyUnderTest({"models": {"a": model}}) as proxy, at_once(10) as clients:
            answers = list(clients.map(proxy.chat, ["a"] * 10))
            self.assertEqual(Counter(answer.status for answer in answers), {200: 2, 429: 8})
            refused = next(answer for answer in answers if answer.status == 429)
            self.assertGreaterEqual(int(refused.headers["Retry-After"]), 1)
            error = refused.error()
            self.assertEqual((error["type"], error["code"]), ("rate_limit_error", "concurrency_limit"))
            self.assertEqual([answer.status for answer in clients.map(proxy.chat, ["a"] * 2)], [200, 200])

    def test_refused_streams_are_plain_answers(self) -> None:
        """429 is decided before anything is streamed."""
        model = fake_model("a", "--stream 5@100", concurrencyLimit=1)
        with ProxyUnderTest({"models": {"a": model}}) as proxy, proxy.stream("a") as first:
            with proxy.stream("a") as second:
                self.assertEqual(second.status, 429)
                self.assertEqual(second.headers.get_content_type(), "application/json")
            self.assertEqual(events_of(first)[-1], b"[DONE]")

    def test_crash_in_mid_stream(self) -> None:
        """An answer that breaks off looks broken to the client; the next request starts the model again."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--stream 4@50 --die-mid-stream")}}) as proxy:
            for _ in range(2):
                with proxy.stream("a") as stream:
                    self.assertEqual(stream.status, 200)
                    with self.assertRaises(CUT):
                        events_of(stream)
                wait_until(lambda: proxy.running() == {}, 5, "the proxy notices")
            self.assertEqual(len(proxy.journal.events("start")), 2)

    def test_upstream_closes_each_connection(self) -> None:
        """An upstream that hangs up after each answer costs nobody an error, and sees no request twice."""
        with (
            ProxyUnderTest({"models": {"a": fake_model("a", "--close-after-each")}}) as proxy,
            at_once(4) as clients,
        ):
            self.assertEqual(list(clients.map(proxy.served, ["a"] * 200)), ["a"] * 200)
            self.assertEqual(len(proxy.journal.events("req")), 200)

    def test_abort_hurts_no_neighbour(self) -> None:
        """Of eight streams one is aborted; the other seven are complete."""
        model = fake_model("a", "--stream 5@100")
        with ProxyUnderTest({"models": {"a": model}}) as proxy, at_once(8) as clients:

            def read(number: int) -> int:
                with proxy.stream("a") as stream:
                    if number == 3:
                        next(stream.events())
                        return 0
                    return len(events_of(stream))

            self.assertEqual(sorted(clients.map(read, range(8))), [0] + [7] * 7)

    def test_open_files(self) -> None:
        """Many answers, a quarter of them abandoned, leave no file descriptor behind."""
        model = fake_model("a", "--stream 3@10")
        with ProxyUnderTest({"models": {"a": model}}) as proxy, at_once(4) as clients:

            def read(number: int) -> None:
                with proxy.stream("a") as stream:
                    if number % 4:
                        events_of(stream)
                    else:
                        next(stream.events())

            read(1)
            before = open_files(proxy.pid)
            list(clients.map(read, range(100)))
            wait_until(lambda: open_files(proxy.pid) <= before + 2, 10, "no more files than before")


class ClientGoneTests(SynchronousTestCase):
    """The upstream learns within a second that nobody listens any more."""

    def test_before_the_first_byte(self) -> None:
        """A client that leaves while the upstream thinks frees it, and the model may be swapped."""
        models = {"a": fake_model("a", "--hold"), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy:
            client = proxy.hanging_up("a")
            proxy.journal.wait_for("req", "a")
            client.close()
            proxy.journal.wait_for("client_gone", "a", timeout=1)
            self.assertEqual(proxy.served("b"), "b")

    def test_in_mid_stream(self) -> None:
        """A client that leaves a stream frees the upstream, and the model may be swapped."""
        models = {"a": fake_model("a", "--stream 1000@100"), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy:
            with proxy.stream("a") as stream:
                next(stream.events())
            proxy.journal.wait_for("client_gone", "a", timeout=1)
            self.assertEqual(proxy.served("b"), "b")

    def test_while_queued(self) -> None:
        """A queued request whose client left never starts anything."""
        models = {"a": fake_model("a", "--first-byte-delay 0.7"), "b": fake_model("b")}
        with ProxyUnderTest({"models": models}) as proxy, at_once(1) as clients:
            busy = clients.submit(proxy.served, "a")
            proxy.journal.wait_for("req", "a")
            proxy.hanging_up("b").close()
            self.assertEqual((busy.result(), proxy.served("a")), ("a", "a"))
            self.assertEqual(proxy.journal.events("start", "b"), [])


class TtlTests(SynchronousTestCase):
    """Unused models are unloaded."""

    def test_ttl(self) -> None:
        """`ttl` counts from the end of the last answer and never ends one."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--stream 5@400", ttl=1)}}) as proxy:
            asked = time.time()
            with proxy.stream("a") as stream:
                self.assertEqual(events_of(stream)[-1], b"[DONE]")
            lasted = 4 * 0.4  # between the first event and the last
            self.assertGreater(proxy.journal.wait_for("exit", "a")["t"] - asked, lasted + 0.9)
            self.assertEqual(proxy.served("a"), "a")

    def test_ttl_counts_from_ready(self) -> None:
        """A model whose only client left while it loaded stays for its `ttl`, then goes."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--load-delay 0.4", ttl=1)}}) as proxy:
            client = proxy.hanging_up("a")
            proxy.journal.wait_for("start", "a")
            client.close()
            ready = proxy.journal.wait_for("probe", "a")["t"]
            gone = proxy.journal.wait_for("exit", "a")["t"]
            self.assertGreater(gone - ready, 0.9)
