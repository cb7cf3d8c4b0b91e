"""The logs over HTTP: a page, plain history and a live stream."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import Stream
from tests.support_processes import wait_until


def read_until(stream: Stream, text: bytes) -> list[bytes]:
    """Return the lines up to the first with the text."""
    lines = []
    for _, line in stream.lines():
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"the stream ended without {text!r}: {lines}")


class HistoryTests(SynchronousTestCase):
    """What was printed so far."""

    def test_plain(self) -> None:
        """`/logs` holds the model's lines and the proxy's own; `/log` leads there."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            answer = proxy.get("/logs")
            self.assertEqual((answer.status, answer.headers.get_content_type()), (200, "text/plain"))
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertIn(b"       eval time =", answer.body)
            self.assertRegex(answer.body, rb"a: ready|ready.*a|model a")
            moved = proxy.get("/log")
            self.assertIn(moved.status, (301, 302, 307, 308))
            self.assertEqual(moved.headers["Location"], "logs")

    def test_page(self) -> None:
        """A browser gets a page, and it starts nothing."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            answer = proxy.get("/logs", {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
            self.assertEqual((answer.status, answer.headers.get_content_type()), (200, "text/html"))
            self.assertEqual(proxy.journal.events(), [])

    def test_bounded(self) -> None:
        """History is the last 10 KiB in whole lines; `?bytes=` asks for more."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--log-rate 2")}}) as proxy:
            proxy.served("a")
            wait_until(lambda: len(proxy.get("/logs?bytes=60000").body) > 50_000, 10)
            history = proxy.get("/logs").body
            self.assertTrue(9_000 < len(history) <= 10_240, len(history))
            self.assertTrue(history.endswith(b"\n"))
            self.assertLess(len(proxy.get("/logs?bytes=10000000").body), 300_000)


class StreamTests(SynchronousTestCase):
    """What is printed from now on."""

    def test_history_then_live(self) -> None:
        """The stream begins with history and goes on with each new line, none lost and none twice."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            proxy.served("a")
            with proxy.reading("/logs/stream") as stream:
                self.assertEqual(stream.headers["X-Accel-Buffering"], "no")
                proxy.served("b")
                proxy.get("/upstream/b/the-last-one")
                lines = read_until(stream, b"the-last-one")
            for model in (b"'a'", b"'b'"):
                self.assertEqual(sum(b"loading model " + model in line for line in lines), 1)
            self.assertEqual(sum(b"       eval time" in line for line in lines), 3)

    def test_no_history(self) -> None:
        """`?no-history` sends new lines only."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            proxy.served("a")
            with proxy.reading("/logs/stream?no-history") as stream:
                proxy.get("/upstream/a/the-last-one")
                lines = read_until(stream, b"the-last-one")
            self.assertFalse(any(b"/v1/chat/completions" in line for line in lines), lines)

    def test_one_source(self) -> None:
        """A model's own lines can be read alone, and so can the proxy's."""
        with ProxyUnderTest(fake_models("a/b", "c")) as proxy:
            proxy.served("c")
            proxy.served("a/b")
            for target in ("/logs/stream/a/b", "/logs/stream/a%2Fb"):
                with proxy.reading(target) as stream:
                    self.assertFalse(any(b"'c'" in line for line in read_until(stream, b"/v1/chat/completions")))
            with proxy.reading("/logs/stream/proxy") as stream:
                self.assertTrue(read_until(stream, b"a/b"))
            self.assertIn(proxy.get("/logs/stream/nobody").status, (400, 404))

    def test_a_reader_that_does_not_read(self) -> None:
        """Viewers that never read stall neither the model nor the proxy."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--log-rate 30 --stream 5@20")}}) as proxy:
            proxy.served("a")
            with proxy.reading("/logs/stream"), proxy.reading("/logs/stream"):
                for _ in range(5):
                    with proxy.stream("a") as stream:
                        self.assertEqual(len(list(stream.events())), 7)
