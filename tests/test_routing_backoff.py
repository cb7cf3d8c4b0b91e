"""How long a model that keeps dying is left alone."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import StartFailed
from llama_swap.routing.backoff import LONGEST_PAUSE, Backoff


class BackoffTests(SynchronousTestCase):
    """Failures, and the pauses that follow."""

    def test_one_failure(self) -> None:
        """After one failure the next request may try again at once."""
        backoff = Backoff()
        backoff.failed(StartFailed("out of memory"), 10)
        self.assertIsNone(backoff.refusal(10))

    def test_growing_pauses(self) -> None:
        """Requests that come all the time start it at most five times in ten seconds, and ever more rarely."""
        backoff, starts = Backoff(), []
        for tick in range(3000):
            now = tick / 10
            if backoff.refusal(now) is None:
                starts.append(now)
                backoff.failed(StartFailed("out of memory"), now)
        self.assertLessEqual(sum(start < 10 for start in starts), 5)
        self.assertLessEqual(max(b - a for a, b in pairwise(starts)), LONGEST_PAUSE + 0.2)

    def test_for_days(self) -> None:
        """However often it has failed, it is tried again after the longest pause, and not later."""
        backoff, now = Backoff(), 0.0
        for _ in range(2000):
            backoff.failed(StartFailed("out of memory"), now)
            now += LONGEST_PAUSE
            self.assertIsNone(backoff.refusal(now))
        self.assertIsNotNone(backoff.refusal(now - 1))

    def test_pauses(self) -> None:
        """From the second failure on they last 1, 2, 4 … seconds, up to a minute."""
        backoff, pauses = Backoff(), []
        for _ in range(10):
            backoff.failed(StartFailed("out of memory"), 10)
            refusal = backoff.refusal(10)
            pauses.append(refusal.retry_after if refusal else None)
        self.assertEqual(pauses, [None, 1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_refusal(self) -> None:
        """Who is refused learns why, and when to come back."""
        backoff = Backoff()
        for now in (10, 10.5):
            backoff.failed(StartFailed("out of memory"), now)
        refusal = backoff.refusal(10.7)
        assert refusal is not None
        self.assertEqual((refusal.status, refusal.retry_after), (503, 1))
        told = "not started again so soon after 2 failures; try again in 1 s. The last: out of memory"
        self.assertEqual(str(refusal), told)
        self.assertIsNone(backoff.refusal(11.5))

    def test_reset(self) -> None:
        """A model that became ready starts with a clean record."""
        backoff = Backoff()
        for _ in range(5):
            backoff.failed(StartFailed("out of memory"), 10)
        backoff.reset()
        self.assertIsNone(backoff.refusal(10))
        backoff.failed(StartFailed("out of memory"), 10)
        self.assertIsNone(backoff.refusal(10))
        backoff.failed(StartFailed("out of memory"), 10)
        self.assertIsNone(backoff.refusal(11))
