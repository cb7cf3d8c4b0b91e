"""Models that are loaded before anybody asks."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, Logger, LogLevel

from llama_swap.routing.lease import Lease
from llama_swap.routing.preload import Preload
from llama_swap.scheduling.commands import Target
from tests.fakes import make_config
from tests.support_routing import RouterCase


class PreloadTests(RouterCase):
    """`Preload`, on a router between fakes."""

    def setUp(self) -> None:
        super().setUp()
        self.router.follow(evolve(self.router.config, preload=("a", "b")))
        self.preload = Preload(self.router)

    def test_in_turn(self) -> None:
        """One after the other, as if somebody had asked for each."""
        self.preload.startService()
        self.assertEqual(self.launcher.launched(), ["a"])
        self.make_ready("a")
        self.child("a").exit()  # swapped for b
        self.make_ready("b")
        self.assertEqual(self.router.upstreams.states(), {"b": "ready"})
        self.assert_at_rest()

    def test_failure(self) -> None:
        """What cannot be loaded does not keep the next from it."""
        self.preload.startService()
        self.child("a").exit(1)
        self.make_ready("b")
        self.assertEqual(self.router.upstreams.states(), {"b": "ready"})
        self.assert_at_rest()

    def test_told(self) -> None:
        """That a model fails is an error; that somebody unloads it, or takes it out of the configuration, is none."""
        events: list[LogEvent] = []
        self.patch(Preload, "_log", Logger(observer=events.append))
        self.preload.startService()
        self.child("a").exit(1)
        self.router.unload(["b"])
        self.child("b").exit()
        self.preload.load(["c"])
        self.router.follow(make_config(["a", "b"]))
        self.child("c").exit()
        told = [(event["model"], event["log_level"]) for event in events if "problem" in event]
        self.assertEqual(told, [("a", LogLevel.error), ("b", LogLevel.info), ("c", LogLevel.info)])
        self.assert_at_rest()

    def test_defect(self) -> None:
        """Neither does what should never happen; it is told."""
        acquire = self.router.acquire

        def defective(target: Target) -> Deferred[Lease]:
            if target.model == "a":
                raise ZeroDivisionError
            return acquire(target)

        self.patch(self.router, "acquire", defective)
        self.preload.startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.make_ready("b")
        self.preload.load(["c"])
        self.assertEqual(self.launcher.launched(), ["b"])
        self.child("b").exit()
        self.make_ready("c")
        self.assert_at_rest()

    def test_later(self) -> None:
        """Models that a reload brings are loaded after those that are being loaded."""
        self.preload.startService()
        self.preload.load(["c"])
        for model, successor in (("a", "b"), ("b", "c")):
            self.make_ready(model)
            self.child(model).exit()
            self.assertEqual(self.launcher.launched()[-1], successor)
        self.make_ready("c")
        self.preload.load(["c"])
        self.assert_at_rest()

    def test_unload(self) -> None:
        """What is unloaded before its turn is not loaded after all; the others are, if they are still wanted."""
        self.preload.startService()
        self.preload.load(["c"])
        self.router.unload(["b"])
        self.make_ready("a")
        self.child("a").exit()
        self.assertEqual(self.launcher.launched(), ["a", "c"])
        self.preload.load(["a", "b"])
        self.router.unload_all()
        self.child("c").exit()
        self.assertEqual(self.launcher.launched(), ["a", "c"])
        self.assert_at_rest()

    def test_stop(self) -> None:
        """The end of the proxy ends it, whatever it is at."""
        self.preload.startService()
        self.preload.stopService()
        self.make_ready("a")
        self.preload.load(["c"])  # by a reload that was under way
        self.assertEqual(self.launcher.launched(), ["a"])
        self.assert_at_rest()
