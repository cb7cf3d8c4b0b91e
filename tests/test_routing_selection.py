"""Selectors: which target they stand for, by what the targets are doing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Selector
from llama_swap.routing.selection import Usage, choose


class SelectionTests(SynchronousTestCase):
    """`choose`, for targets a, b and c."""

    def choose(self, strategy: str, turn: int = 0, **usage: tuple[str, int]) -> str:
        """Choose, where targets are in these states, with these requests; the others are stopped."""
        selector = Selector(strategy=strategy, targets=("a", "b", "c"), spillover=2)
        return choose(selector, lambda target: Usage(*usage.get(target, ())), turn)

    def test_pin(self) -> None:
        """Always the first."""
        self.assertEqual(self.choose("pin", b=("ready", 0)), "a")

    def test_warm(self) -> None:
        """The first that is ready, or the first that starts, or the first of all."""
        self.assertEqual(self.choose("warm"), "a")
        self.assertEqual(self.choose("warm", b=("starting", 0), c=("starting", 0)), "b")
        self.assertEqual(self.choose("warm", a=("stopping", 0), b=("starting", 1), c=("ready", 5)), "c")

    def test_spillover_begins(self) -> None:
        """Where nothing runs, the first is woken."""
        self.assertEqual(self.choose("spillover"), "a")

    def test_spillover_fills(self) -> None:
        """A target in use gets requests until it has enough; then the next one is woken."""
        self.assertEqual(self.choose("spillover", a=("ready", 1)), "a")
        self.assertEqual(self.choose("spillover", a=("starting", 1)), "a")
        self.assertEqual(self.choose("spillover", a=("ready", 2)), "b")
        self.assertEqual(self.choose("spillover", a=("ready", 2), b=("stopped", 1)), "b")
        self.assertEqual(self.choose("spillover", a=("ready", 2), b=("starting", 2)), "c")
        self.assertEqual(self.choose("spillover", b=("ready", 2)), "a")

    def test_spillover_spreads(self) -> None:
        """Among those in use, the least busy one; equally busy ones in turn, also beyond the limit."""
        self.assertEqual(self.choose("spillover", a=("ready", 2), b=("ready", 1)), "b")
        busy = {"a": ("ready", 3), "b": ("ready", 3), "c": ("ready", 4)}
        self.assertEqual([self.choose("spillover", turn, **busy) for turn in range(4)], ["a", "b", "a", "b"])

    def test_spillover_uses_what_is_ready(self) -> None:
        """A target that is ready and idle needs no waking."""
        self.assertEqual(self.choose("spillover", a=("ready", 1), c=("ready", 0)), "c")

    def test_spillover_uses_what_starts(self) -> None:
        """Nor does one that starts already, though nobody waits for it."""
        self.assertEqual(self.choose("spillover", b=("starting", 0)), "b")
        self.assertEqual(self.choose("spillover", a=("ready", 1), c=("starting", 0)), "c")
