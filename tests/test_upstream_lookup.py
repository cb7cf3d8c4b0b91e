"""Disks that do not answer while a model's programs are looked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import StartFailed
from llama_swap.upstream.lookup import PATIENCE, LookupFirst
from tests.fakes import FakeReadiness, make_model


class PlayedReactor(Clock):
    """A clock, with calls from threads that are made at once."""

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)


class LookupFirstTests(SynchronousTestCase):
    """`LookupFirst`, whose other thread runs when the test says so."""

    def setUp(self) -> None:
        self.reactor = PlayedReactor()
        self.readiness = FakeReadiness()
        self.beside: list[Callable[[], None]] = []
        self.lookup = LookupFirst(self.readiness, self.reactor, self.beside.append)
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def begin(self) -> Deferred[None]:
        """Ask whether a model may start."""
        return self.lookup.address_free(make_model("m", cmd=("server", "-x"), cmd_stop=("stopper",)))

    def test_in_another_thread(self) -> None:
        """What the launch will look for is looked for there, by the paths that count; only then the rest follows."""
        looked_for: list[tuple[str, str | None]] = []
        self.patch(shutil, "which", lambda name, path=None: looked_for.append((name, path)))
        free = self.lookup.address_free(make_model("m", cmd=("a",), cmd_stop=("b",), env={"PATH": "/own"}))
        self.assertEqual((looked_for, self.readiness.clearing), ([], {}))
        self.beside.pop()()
        self.assertEqual(looked_for, [(name, path) for name in ("setsid", "a", "b") for path in (None, "/own")])
        self.successResultOf(free)

    def test_dead_disk(self) -> None:
        """A disk that does not answer is told in the end; nothing is launched, also when it answers later."""
        free = self.begin()
        self.reactor.advance(PATIENCE - 1)
        self.assertNoResult(free)
        self.reactor.advance(1)
        error = str(self.failureResultOf(free, StartFailed).value)
        for part in ("model m", "models.m.cmd", "disk"):
            self.assertIn(part, error)
        self.beside.pop()()
        self.assertEqual(self.readiness.clearing, {})

    def test_not_wanted_any_more(self) -> None:
        """Whoever unloads the model meanwhile does not wait for the disk, nor later for the address."""
        free = self.begin()
        free.cancel()
        self.failureResultOf(free, CancelledError)
        self.beside.pop()()
        self.assertEqual(self.readiness.clearing, {})
        self.readiness.occupied = True
        free = self.begin()
        self.beside.pop()()
        free.cancel()
        self.failureResultOf(free, CancelledError)
        self.assertEqual(self.readiness.cancelled, ["m"])

    def test_fails(self) -> None:
        """What goes wrong there is met again by the launch, which tells it."""
        self.patch(shutil, "which", lambda name, path=None: 1 / 0)
        free = self.begin()
        self.assertRaises(ZeroDivisionError, self.beside.pop())
        self.successResultOf(free)

    def test_no_thread(self) -> None:
        """Where no thread can be started, models can nevertheless."""

        def fail(work: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        self.lookup = LookupFirst(self.readiness, self.reactor, fail)
        self.successResultOf(self.begin())

    def test_health(self) -> None:
        """The health check is nobody's business here."""
        healthy = self.lookup.healthy(make_model("m"))
        self.assertIs(healthy, self.readiness.probing["m"])
