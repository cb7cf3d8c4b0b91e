"""The timer that ends a model that nobody uses."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.routing.idle import IdleTimer


class IdleTimerTests(SynchronousTestCase):
    """`IdleTimer`, on a clock of the test's own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.timer = self.make_timer(60)

    def make_timer(self, ttl: float) -> IdleTimer:
        """Return a timer that notes when it expires."""
        return IdleTimer(self.clock, ttl, lambda: self.expired.append(self.clock.seconds()))

    def test_expires_once(self) -> None:
        """Once started it expires after its time, and not again."""
        self.timer.start()
        self.clock.advance(59.9)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.1)
        self.clock.advance(1000)
        self.assertEqual(self.expired, [60])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_does_not_start_by_itself(self) -> None:
        """A timer that was only made does not run."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopped, it does not expire, and leaves nothing; to stop it again is nothing."""
        self.timer.stop()
        self.timer.start()
        self.timer.stop()
        self.timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_start_again(self) -> None:
        """Each start gives the whole time again; only one timer runs."""
        self.timer.start()
        self.clock.advance(59)
        self.timer.start()
        self.clock.advance(59)
        self.assertEqual((self.expired, len(self.clock.getDelayedCalls())), ([], 1))
        self.clock.advance(1)
        self.assertEqual(self.expired, [119])

    def test_start_when_it_expires(self) -> None:
        """Who hears of the expiry may start it at once."""
        timer = IdleTimer(self.clock, 60, lambda: (self.expired.append(self.clock.seconds()), timer.start()))
        timer.start()
        self.clock.pump([60, 60])
        self.assertEqual(self.expired, [60, 120])
        timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_resume(self) -> None:
        """What was no use takes nothing away and adds nothing; a time that is up in between ends at once after."""
        self.timer.start()
        for _ in range(2):
            self.clock.advance(20)
            self.timer.stop()
            self.clock.advance(5)
            self.timer.resume()
        self.assertEqual(self.clock.getDelayedCalls()[0].getTime(), 60)
        self.timer.stop()
        self.timer.used()
        self.clock.advance(100)
        self.timer.resume()
        self.clock.advance(0)
        self.assertEqual(self.expired, [150])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_other_time(self) -> None:
        """Another time holds at once for a model that is not in use, and later for one that is."""
        self.timer.set_ttl(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timer.start()
        self.timer.set_ttl(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timer.stop()
        self.timer.set_ttl(7)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timer.start()
        self.clock.advance(7)
        self.assertEqual(self.expired, [7])

    def test_same_time(self) -> None:
        """A time that is none other gives no more of it."""
        self.timer.start()
        self.clock.advance(50)
        self.timer.set_ttl(60)
        self.clock.advance(10)
        self.assertEqual(self.expired, [60])

    def test_shortest(self) -> None:
        """A second is a time like any other."""
        self.make_timer(1).start()
        self.clock.advance(1)
        self.assertEqual(self.expired, [1])

    def test_never(self) -> None:
        """A time of 0 means never."""
        self.make_timer(0).start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
