"""Lines reach the histories and listeners of their sources, in order, without gap or duplicate."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llama_swap.logs.backlog import BACKLOG_BYTES
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.logs.ring import RING_BYTES, Chunk
from llama_swap.logs.subscription import Subscription


class HistoryTests(SynchronousTestCase):
    """Which lines are kept where."""

    def setUp(self) -> None:
        """Let two models and the proxy say something."""
        self.broadcaster = Broadcaster()
        self.broadcaster.writer("org/a:1 b").write(b"from a\n")
        self.broadcaster.writer("b").write(b"from b\n")
        self.broadcaster.publish_proxy(b"from the proxy")

    def test_sources(self) -> None:
        """Each source has its own lines, whatever characters are in its name."""
        histories = {name: self.broadcaster.history(name) for name in (None, *self.broadcaster.sources())}
        self.assertEqual(
            histories,
            {
                None: b"from a\nfrom b\nfrom the proxy\n",
                "proxy": b"from the proxy\n",
                "upstream": b"from a\nfrom b\n",
                "org/a:1 b": b"from a\n",
                "b": b"from b\n",
            },
        )

    def test_unknown_source(self) -> None:
        """A source that nobody heard of has no history, and asking does not make it one."""
        self.assertEqual(self.broadcaster.history("c"), b"")
        self.assertNotIn("c", self.broadcaster.sources())

    def test_one_object(self) -> None:
        """A line is one object in all places."""
        seen: list[Chunk] = []
        for source in ("b", "upstream", None):
            self.broadcaster.follow(source, seen.append, history=None).resumeProducing()
        self.broadcaster.writer("b").write(b"again\n")
        self.assertEqual(len(seen), 3)
        self.assertIs(seen[0], seen[1])
        self.assertIs(seen[0], seen[2])

    def test_survives_a_restart(self) -> None:
        """The history goes on where the process before left it."""
        first = self.broadcaster.writer("b")
        first.write(b"last words")
        first.end()
        self.broadcaster.writer("b").write(b"a new start\n")
        self.assertEqual(self.broadcaster.history("b"), b"from b\nlast words\na new start\n")

    def test_streams_do_not_mix(self) -> None:
        """Unfinished lines of stdout and stderr do not run into each other."""
        out, err = self.broadcaster.writer("b"), self.broadcaster.writer("b")
        out.write(b"half of ")
        err.write(b"an error\n")
        out.write(b"a line\n")
        self.assertEqual(self.broadcaster.history("b"), b"from b\nan error\nhalf of a line\n")

    def test_a_model_called_proxy(self) -> None:
        """A model with a source's name does not write into that source."""
        self.broadcaster.writer("proxy").write(b"a strange name\n")
        self.assertEqual(self.broadcaster.history("proxy"), b"from the proxy\n")
        self.assertIn(b"a strange name\n", self.broadcaster.history("upstream"))
        self.assertEqual(self.broadcaster.sources().count("proxy"), 1)

    def test_limits(self) -> None:
        """History is 10 KiB unless more is asked for, and 100 KiB at most, in whole lines."""
        self.broadcaster.writer("b").write(b"".join(b"%099d\n" % n for n in range(5000)))
        self.assertEqual(len(self.broadcaster.history("b")), 10_200)
        self.assertEqual(len(self.broadcaster.history("b", 50_000)), 50_000)
        self.assertEqual(len(self.broadcaster.history("b", 10**9)), RING_BYTES // 100 * 100)
        self.assertTrue(self.broadcaster.history("b").endswith(b"%099d\n" % 4999))


class SubscriptionTests(SynchronousTestCase):
    """What a listener gets."""

    def setUp(self) -> None:
        """Let a model say something before anyone listens."""
        self.broadcaster = Broadcaster()
        self.model = self.broadcaster.writer("m")
        self.model.write(b"1\n2\n")
        self.got: list[bytes] = []

    def subscribe(self, history: int | None = 100) -> Subscription:
        """Listen to the model."""
        return self.broadcaster.subscribe("m", self.got.append, history=history)

    def test_producer(self) -> None:
        """A subscription can be registered with a transport."""
        verifyObject(IPushProducer, self.subscribe())

    def test_history_then_live(self) -> None:
        """History comes first, then each new chunk as it was written."""
        self.subscribe()
        self.model.write(b"3\n4\n")
        self.assertEqual(self.got, [b"1\n2\n", b"3\n4\n"])

    def test_no_history(self) -> None:
        """Without history only new lines come."""
        self.subscribe(history=None)
        self.model.write(b"3\n")
        self.assertEqual(self.got, [b"3\n"])

    def test_before_the_first_line(self) -> None:
        """A model can be listened to before it has ever run."""
        self.broadcaster.subscribe("later", self.got.append, history=100)
        self.broadcaster.writer("later").write(b"hello\n")
        self.assertEqual(self.got, [b"hello\n"])

    def test_pause_and_resume(self) -> None:
        """While paused lines wait; they come on resuming, in order."""
        subscription = self.subscribe(history=None)
        subscription.pauseProducing()
        self.model.write(b"3\n")
        self.model.write(b"4\n")
        self.assertEqual(self.got, [])
        subscription.resumeProducing()
        self.assertEqual(self.got, [b"3\n", b"4\n"])

    def test_too_slow(self) -> None:
        """When too much waits the oldest lines are lost, and the listener is told how many."""
        subscription = self.subscribe(history=None)
        subscription.pauseProducing()
        for number in range(10_000):
            self.model.write(b"%099d\n" % number)
        subscription.resumeProducing()
        notice, *rest = self.got
        lost = 10_000 - len(rest)
        self.assertEqual(len(rest), BACKLOG_BYTES // 100)
        self.assertIn(f"{lost * 100} bytes dropped ({lost} lines)", notice.decode())
        self.assertEqual(rest, [b"%099d\n" % number for number in range(lost, 10_000)])

    def test_stop(self) -> None:
        """After stopping nothing comes any more; stopping again does no harm."""
        subscription = self.subscribe(history=None)
        subscription.pauseProducing()
        self.model.write(b"3\n")
        subscription.stopProducing()
        subscription.stopProducing()
        subscription.resumeProducing()
        self.model.write(b"4\n")
        self.assertEqual(self.got, [])

    def test_pause_within_delivery(self) -> None:
        """A listener that pauses while it is called gets the next chunk only after resuming."""

        def deliver(chunk: bytes) -> None:
            self.got.append(chunk)
            subscription.pauseProducing()

        subscription = self.broadcaster.subscribe("m", deliver, history=None)
        self.model.write(b"3\n")
        self.model.write(b"4\n")
        self.assertEqual(self.got, [b"3\n"])
        subscription.resumeProducing()
        self.assertEqual(self.got, [b"3\n", b"4\n"])

    def test_line_within_delivery(self) -> None:
        """A line that a listener causes while it gets history comes once, after the history."""

        def deliver(chunk: bytes) -> None:
            if not self.got:
                self.model.write(b"caused\n")
            self.got.append(chunk)

        self.model.write(b"3\n")
        self.broadcaster.subscribe("m", deliver, history=100)
        self.assertEqual(b"".join(self.got), b"1\n2\n3\ncaused\n")

    def test_leaving_and_coming_within_delivery(self) -> None:
        """Listeners that leave or come while lines are spread disturb nobody."""
        late: list[bytes] = []
        after: list[bytes] = []

        def leave(chunk: bytes) -> None:
            first.stopProducing()
            self.broadcaster.subscribe("m", late.append, history=100)

        first = self.broadcaster.subscribe("m", leave, history=None)
        self.broadcaster.subscribe("m", after.append, history=None)
        self.model.write(b"3\n")
        self.model.write(b"4\n")
        self.assertEqual(b"".join(after), b"3\n4\n")
        self.assertEqual(b"".join(late), b"1\n2\n3\n4\n")

    def test_failing_listener(self) -> None:
        """A listener that raises is dropped and logged; the others and the writer notice nothing."""

        def fail(chunk: bytes) -> None:
            raise ValueError(chunk)

        self.broadcaster.subscribe("m", fail, history=None)
        self.subscribe(history=None)
        self.model.write(b"3\n")
        self.model.write(b"4\n")
        self.assertEqual(self.got, [b"3\n", b"4\n"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class FollowTests(SynchronousTestCase):
    """Listeners that come back."""

    def setUp(self) -> None:
        """Listen until the second line."""
        self.broadcaster = Broadcaster()
        self.model = self.broadcaster.writer("m")
        self.before: list[Chunk] = []
        following = self.broadcaster.follow(None, self.before.append, history=None)
        following.resumeProducing()
        self.model.write(b"1\n")
        self.broadcaster.publish_proxy(b"2\n")
        following.stopProducing()
        self.after: list[Chunk] = []

    def test_sources_are_told(self) -> None:
        """Each chunk names where it came from."""
        self.assertEqual([chunk.source for chunk in self.before], ["m", "proxy"])

    def test_goes_on(self) -> None:
        """After the last chunk that it got, a listener gets just those that it missed."""
        self.model.write(b"3\n")
        following = self.broadcaster.follow(None, self.after.append, history=100, after=self.before[-1].number)
        self.model.write(b"4\n")
        following.resumeProducing()
        self.assertEqual([chunk.lines for chunk in self.after], [b"3\n", b"4\n"])

    def test_tells_a_gap(self) -> None:
        """If some of what it missed is gone, a notice comes first."""
        for _ in range(200):
            self.model.write(b"x" * 999 + b"\n")
        following = self.broadcaster.follow(None, self.after.append, history=100, after=self.before[-1].number)
        following.resumeProducing()
        self.assertEqual(self.after[0].lines.decode(), "— older lines are gone from the history —\n")
        self.assertEqual({chunk.source for chunk in self.after[1:]}, {"m"})
