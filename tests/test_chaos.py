"""Router, scheduler, machines and launcher together, in lives at random; `python -m tests.chaos` lives many more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.world import World

LIVES = 40
STEPS = 60


class ChaosTests(SynchronousTestCase):
    """Whatever happens in whatever order, the laws of `tests.chaos.laws` hold."""

    def test_lives(self) -> None:
        """Requests, clients that leave, crashes, failures, unloads, reloads and jumps of time; then the end of all."""
        for seed in range(LIVES):
            world = World(seed)
            try:
                world.live(STEPS)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}\n" + "\n".join(world.story[-40:])) from error

    def test_calm(self) -> None:
        """Where nothing goes wrong, everybody who stays is served, and soon."""
        for seed in range(LIVES // 4):
            world = World(seed, wild=0.0)
            world.live(STEPS)
            self.assertEqual(
                world.outcomes.keys() - {"served", "left", "TooManyRequests", "Conflict", "Unavailable"}, set()
            )
