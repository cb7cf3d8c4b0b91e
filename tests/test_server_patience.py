"""The deadlines of many clients, on one timer."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.server.patience import LEAST, Deadline, Patience


class PatienceTests(SynchronousTestCase):
    """With a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.patience = Patience(self.clock)
        self.over: list[str] = []

    def deadline(self, name: str, seconds: float | None) -> Deadline:
        """Return one that tells its name when it has passed."""
        deadline = Deadline(self.patience, partial(self.over.append, name))
        deadline.allow(seconds)
        return deadline

    def test_order(self) -> None:
        """Each passes in its time, however they were allowed, with one timer for all."""
        for seconds in (30, 10, 20):
            self.deadline(str(seconds), seconds)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for expected in (["10"], ["10", "20"], ["10", "20", "30"]):
            self.clock.advance(10)
            self.assertEqual(self.over, expected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moved(self) -> None:
        """What counts is what was allowed last, be it later, sooner or for ever."""
        later, sooner, never = (self.deadline(name, 10) for name in ("later", "sooner", "never"))
        later.allow(20)
        sooner.allow(5)
        never.allow(None)
        for seconds, expected in (
            (5, ["sooner"]),
            (10, ["sooner"]),
            (5, ["sooner", "later"]),
            (1000, ["sooner", "later"]),
        ):
            self.clock.advance(seconds)
            self.assertEqual(self.over, expected)
        never.allow(1)
        self.clock.advance(1)
        self.assertEqual(self.over[2:], ["never"])

    def test_close_together(self) -> None:
        """Those that come one right after the other are looked at together, a little late."""
        for count in range(10):
            self.deadline(str(count), 10 + count * LEAST / 10)
        self.clock.advance(10)
        self.assertEqual(self.over, ["0"])
        self.clock.advance(LEAST / 2)
        self.assertEqual(self.over, ["0"])
        self.clock.advance(LEAST / 2)
        self.assertEqual(len(self.over), 10)

    def test_stopped(self) -> None:
        """One that has been stopped passes no more, and the others as before; with the last one, the timer goes."""
        first, second, third = (self.deadline(name, seconds) for name, seconds in (("1", 10), ("2", 20), ("3", 30)))
        first.stop()
        self.clock.advance(20)
        self.assertEqual(self.over, ["2"])
        for deadline in (second, third):
            deadline.stop()
        self.assertEqual((self.over, self.clock.getDelayedCalls()), (["2"], []))

    def test_not_begun(self) -> None:
        """One to which no time was given yet waits for that, whatever passes meanwhile."""
        idle = Deadline(self.patience, partial(self.over.append, "idle"))
        self.deadline("other", 10)
        self.clock.advance(10)
        self.assertEqual(self.over, ["other"])
        idle.allow(1)
        self.clock.advance(1)
        self.assertEqual(self.over, ["other", "idle"])

    def test_after_the_last(self) -> None:
        """Where all were stopped, those that come after them pass in their time, be it later or sooner."""
        for seconds in (20, 5):
            self.deadline("stopped", 10).stop()
            self.deadline(str(seconds), seconds)
            self.clock.advance(seconds)
        self.assertEqual(self.over, ["20", "5"])

    def test_stopped_by_another(self) -> None:
        """Also where another one that passes with it is the reason."""
        deadlines = [Deadline(self.patience, lambda: self.end(deadlines)) for _ in range(2)]
        for deadline in deadlines:
            deadline.allow(10)
        self.clock.advance(10)
        self.assertEqual((self.over, self.clock.getDelayedCalls()), (["ended"], []))

    def end(self, deadlines: list[Deadline]) -> None:
        """Stop them all."""
        self.over.append("ended")
        for deadline in deadlines:
            deadline.stop()

    def test_defect(self) -> None:
        """Whatever goes wrong for one, the others have their time."""
        for seconds in (10, 20):
            Deadline(self.patience, lambda: 1 / 0).allow(seconds)
            self.deadline(str(seconds), seconds)
        for _ in range(2):
            self.clock.advance(10)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.over, ["10", "20"])
