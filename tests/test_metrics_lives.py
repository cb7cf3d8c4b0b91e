"""How models come and go, as counted."""

from __future__ import annotations

from twisted.internet.task import Clock

from llama_swap.errors import StartFailed, Unavailable
from llama_swap.metrics.lives import ModelLives
from llama_swap.metrics.tallies import ModelTallies, Tallies
from llama_swap.routing.router import Router
from tests.fakes import FakeLauncher, FakeReadiness, make_config
from tests.support_routing import RouterCase


class LivesTests(RouterCase):
    """With the router that tells of it."""

    def make_router(self, **more: object) -> None:
        """Make the router, with somebody who counts."""
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.readiness = FakeReadiness()
        self.tallies: Tallies = Tallies(ModelTallies)
        lives = ModelLives(self.tallies, self.clock)
        config = make_config(["a", "b", "c"], {"ab": "a b", "bc": "b c"})
        self.router = Router(config, self.clock, self.launcher, self.readiness, observer=lives)

    def counts(self, model: str) -> tuple[int, int, int, int, int]:
        """Return loads, swaps, failures, crashes, evictions."""
        tally = self.tallies[model]
        return (
            sum(tally.loads.buckets),
            sum(tally.swaps.buckets),
            tally.failures,
            tally.crashes,
            tally.evictions,
        )

    def test_load_and_swap(self) -> None:
        """A swap takes from the order to stop the old model until the new one is ready."""
        granted = self.acquire("a")
        self.clock.advance(3)
        self.make_ready("a")
        self.successResultOf(granted).release()
        granted = self.acquire("b")
        self.clock.advance(2)
        self.child("a").exit()
        self.clock.advance(5)
        self.make_ready("b")
        self.successResultOf(granted).release()
        self.assertEqual((self.counts("a"), self.counts("b")), ((1, 0, 0, 0, 1), (1, 1, 0, 0, 0)))
        self.assertEqual((self.tallies["a"].loads.total, self.tallies["b"].loads.total), (3, 5))
        self.assertEqual(self.tallies["b"].swaps.total, 7)

    def test_swap_cut_short(self) -> None:
        """A swap that comes to nothing is none, and does not begin one that counts the time until the next load."""
        for is_started in (False, True):
            self.make_router()
            self.load("a").release()
            granted = self.acquire("b")
            self.clock.advance(1)
            if is_started:
                self.child("a").exit()
            self.router.unload_all()
            self.failureResultOf(granted)
            self.child("b" if is_started else "a").exit()
            self.clock.advance(7)
            self.load("b").release()
            self.assertEqual((self.counts("b"), self.counts("a")), ((1, 0, 0, 0, 0), (1, 0, 0, 0, 1)))
            self.clock.advance(7)
            granted = self.acquire("a")
            self.clock.advance(2)
            self.child("b").exit()
            self.make_ready("a")
            self.successResultOf(granted).release()
            self.assertEqual(self.tallies["a"].swaps.total, 2)

    def test_swap_refused(self) -> None:
        """Nor is one to a model that has failed too often to be started again."""
        self.load("a").release()
        granted = self.acquire("b")
        for _ in range(2):
            self.router.upstreams["b"].backoff.failed(StartFailed("no memory"), self.clock.seconds())
        self.child("a").exit()
        self.failureResultOf(granted, Unavailable)
        self.clock.advance(7)
        self.load("b").release()
        self.assertEqual(self.counts("b"), (1, 0, 0, 0, 0))

    def test_ready_before(self) -> None:
        """Where others stop for a model that is ready, nothing is swapped, whatever becomes of it later."""
        granted = self.acquire("b", "ab")
        for model in "ab":
            self.make_ready(model)
        self.successResultOf(granted).release()
        self.successResultOf(self.acquire("b", "bc")).release()
        self.child("a").exit()
        self.make_ready("c")
        self.child("b").exit()
        self.clock.advance(7)
        granted = self.acquire("b", "bc")
        self.make_ready("b")
        self.successResultOf(granted).release()
        self.assertEqual(self.counts("b"), (2, 0, 0, 1, 0))

    def test_crash(self) -> None:
        """An end that nobody asked for is a crash; one that somebody asked for is not."""
        self.load("a").release()
        self.child("a").exit()
        self.load("a").release()
        self.router.unload_all()
        self.child("a").exit()
        self.assertEqual(self.counts("a"), (2, 0, 0, 1, 0))

    def test_failure(self) -> None:
        """A load that fails is neither a load nor a crash."""
        granted = self.acquire("a")
        self.child("a").exit()
        self.failureResultOf(granted)
        self.assertEqual(self.counts("a"), (0, 0, 1, 0, 0))
