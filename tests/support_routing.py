"""A router between fakes, for tests that play clients, processes and the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import SwapError
from llama_swap.routing.lease import Lease
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target
from tests.fakes import FakeChild, FakeLauncher, FakeReadiness, make_config

GRACE = 7


class RouterCase(SynchronousTestCase):
    """A router of the models a, b and c between fakes."""

    def make_router(self, changes: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Make the router, of a configuration with `changes`; `more` goes into the fields of each model."""
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.readiness = FakeReadiness()
        config = make_config(["a", "b", "c"], {"p": "a b"}, **{"unload_timeout": GRACE, **more})
        config = evolve(config, **(changes or {}))
        self.read_ahead: list[str] = []
        self.router = Router(
            config, self.clock, self.launcher, self.readiness, lambda model: self.read_ahead.append(model.id)
        )

    def setUp(self) -> None:
        self.make_router()

    def acquire(self, model: str, profile: str | None = None) -> Deferred[Lease]:
        """Ask for a lease."""
        return self.router.acquire(Target(model, profile))

    def make_ready(self, model: str) -> None:
        """Let the latest process of a model answer."""
        self.readiness.probing[model].callback(None)

    def child(self, model: str) -> FakeChild:
        """Return the latest process of a model."""
        return self.launcher.child(model)

    def load(self, model: str) -> Lease:
        """Have a model ready, and a lease on it."""
        granted = self.acquire(model)
        if not granted.called:
            self.make_ready(model)
        return self.successResultOf(granted)

    def assert_failed(self, granted: Iterable[Deferred[Lease]], kind: type[SwapError]) -> None:
        """Each of these was told an error of this kind."""
        for each in granted:
            self.failureResultOf(each, kind)

    def assert_at_rest(self) -> None:
        """Nobody waits, nothing is served, no delayed call is left, and no model but idle ones without `ttl`."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.router._scheduler.in_flight(), 0)
        self.assertEqual(self.router._scheduler.waiting(), 0)
        self.assertEqual(self.router._waiting, {})
        for model in self.router.upstreams:
            upstream = self.router.upstreams[model]
            self.assertEqual((upstream._awaiting_crash, upstream._awaiting_end), ([], []))
