"""The life of the proxy: what happens, and in which order, from listening to the end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IAddress
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from llama_swap.errors import CannotListen
from llama_swap.lifecycle import service as service_module
from llama_swap.lifecycle import terminal as terminal_module
from llama_swap.lifecycle.service import (
    ANSWERS_MAY_TAKE,
    HURRIED_MODELS_MAY_TAKE,
    KILLED_MAY_TAKE,
    LAST_STEP_MAY_TAKE,
    MODELS_MAY_TAKE,
    SwapService,
)
from llama_swap.lifecycle.terminal import CLOSES_WITHIN, Terminal
from llama_swap.listening import port as listening
from llama_swap.listening.address import Address
from llama_swap.listening.port import Listening
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target
from tests.fakes import FakeLauncher, FakeReadiness, make_config


class FakeLoop(MemoryReactorClock):
    """A reactor that is stopped at most once, as the real one is, and runs what threads ask for at once."""

    stops = 0

    def stop(self) -> None:
        if self.stops:
            raise ReactorNotRunning
        self.stops += 1

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)

    def start(self) -> None:
        """Run what was to run once the reactor does."""
        for call, args, kwargs in self.whenRunningHooks:
            call(*args, **kwargs)


@define
class Events:
    """What was done, in its order."""

    done: list[str] = field(factory=list)

    def note(self, what: str) -> Callable[..., None]:
        """Return something that notes `what` when it is called."""
        return lambda *args: self.done.append(what)


class ServiceCase(SynchronousTestCase):
    """A service between fakes, with a router of its own."""

    def setUp(self) -> None:
        self.loop = FakeLoop()
        self.events = Events()
        self.announced: list[str] = []
        self.opened: list[IAddress] = []
        self.launcher = FakeLauncher()
        self.readiness = FakeReadiness()
        self.router = Router(make_config(["a", "b"]), self.loop, self.launcher, self.readiness)
        self.handlers: dict[int, Callable[[int, None], None]] = {}
        self.patch(listening, "admit_by_descriptors", lambda port, clock, queued: port)  # which is no real one
        self.patch(service_module, "notify", lambda state, environ: self.events.done.append(state))
        self.patch(service_module.signal, "signal", self.handlers.__setitem__)
        self.service = self.make_service("127.0.0.1:8080")

    def make_service(self, listen: str, terminal: Terminal | None = None) -> SwapService:
        """Return a service that listens there."""
        return SwapService(
            self.loop,
            Site(Resource()),
            self.router,
            listening=Listening(Address(listen), self.loop, self.opened.append),
            reload=self.events.note("reload"),
            close_streams=self.events.note("streams closed"),
            dismiss_guard=lambda: succeed(self.events.done.append("guard dismissed")),
            close_records=lambda: succeed(self.events.done.append("records closed")),
            announce=self.announced.append,
            environ={},
            terminal=terminal,
        )

    def start(self) -> None:
        """Start the service, and the reactor."""
        self.service.startService()
        self.loop.start()

    def load(self, model: str) -> Any:
        """Have a model ready; return a lease on it."""
        granted = self.router.acquire(Target(model))
        self.readiness.probing[model].callback(None)
        return self.successResultOf(granted)

    def ends_with_the_killed(self, ended: Deferred[None]) -> None:
        """Check that model a was killed, and that the service ends as soon as it is gone, and not before."""
        child = self.launcher.child("a")
        self.assertIn("kill", child.asked)
        self.assertNoResult(ended)
        child.exit(None, 9)
        self.successResultOf(ended)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.handlers[number](number, None)


class StartTests(ServiceCase):
    """Listening."""

    def test_listens(self) -> None:
        """The site is served where it was asked for; the address is announced, and the manager told."""
        self.start()
        (port, site, _backlog, interface) = self.loop.tcpServers[0]
        self.assertEqual((port, interface), (8080, "127.0.0.1"))
        self.assertIsInstance(site, Site)
        self.assertEqual(len(self.announced), 1)
        self.assertIn("llama-swap listening on http://", self.announced[0])
        self.assertEqual(self.events.done, ["READY=1"])

    def test_cannot_listen(self) -> None:
        """An address that cannot be had is an error of ours, and nothing is announced."""

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise CannotListenError("127.0.0.1", 8080, OSError("taken"))

        self.patch(self.loop, "listenTCP", refuse)
        error = self.assertRaises(CannotListen, self.service.startService)
        self.assertIn("127.0.0.1:8080", str(error))
        self.assertEqual((self.announced, self.events.done), ([], []))

    def test_takes_signals(self) -> None:
        """TERM, INT and HUP are ours once the reactor runs, not before: it would take them back."""
        self.service.startService()
        self.assertEqual(self.handlers, {})
        self.loop.start()
        self.assertEqual(set(self.handlers), {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

    def test_hangup_reloads(self) -> None:
        """SIGHUP reads the configuration again, and stops nothing; once the end has begun, it does nothing."""
        self.start()
        self.signal(signal.SIGHUP)
        self.assertEqual(self.events.done[-1], "reload")
        self.assertEqual((self.loop.stops, self.service.running), (0, 1))
        self.load("a")
        ended = self.service.stopService()
        self.signal(signal.SIGHUP)
        self.assertEqual(self.events.done.count("reload"), 1)
        self.signal(signal.SIGINT)
        self.loop.advance(HURRIED_MODELS_MAY_TAKE)
        self.ends_with_the_killed(ended)


class TerminalTests(ServiceCase):
    """SIGHUP in a terminal, which may be its last word."""

    def start_in(self, *, is_there: bool, is_used: bool = True) -> None:
        """Start the service in a terminal."""
        self.patch(terminal_module, "_is_there", lambda: is_there)
        terminal = Terminal(self.loop, is_used=is_used)
        self.service = self.make_service("127.0.0.1:8080", terminal)
        self.start()

    def test_open(self) -> None:
        """A terminal that is there did not say it: somebody wants a reload."""
        self.start_in(is_there=True)
        self.signal(signal.SIGHUP)
        self.assertEqual((self.events.done[-1], self.loop.stops), ("reload", 0))

    def test_closes(self) -> None:
        """One that closes right after SIGHUP has been the reason for it."""
        self.start_in(is_there=True)
        self.signal(signal.SIGHUP)
        self.patch(terminal_module, "_is_there", lambda: False)
        self.loop.advance(CLOSES_WITHIN)
        self.assertEqual(self.loop.stops, 1)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.loop.getDelayedCalls(), [])

    def test_closed(self) -> None:
        """One that is gone ends the proxy; that kernel and shell both say so is no reason to hurry."""
        self.start_in(is_there=False)
        self.load("a")
        for _ in range(2):
            self.signal(signal.SIGHUP)
        self.assertEqual((self.events.done, self.loop.stops), (["READY=1"], 1))
        ended = self.service.stopService()
        self.signal(signal.SIGHUP)
        self.loop.advance(ANSWERS_MAY_TAKE - 1)
        self.assertEqual(self.launcher.child("a").asked, [])
        self.signal(signal.SIGINT)
        self.loop.advance(HURRIED_MODELS_MAY_TAKE)
        self.ends_with_the_killed(ended)
        self.assertEqual(self.loop.getDelayedCalls(), [])

    def test_not_used(self) -> None:
        """A proxy that never used one goes on."""
        self.start_in(is_there=False, is_used=False)
        self.signal(signal.SIGHUP)
        self.assertEqual((self.events.done[-1], self.loop.stops), ("reload", 0))


class DrainTests(ServiceCase):
    """`stopService`."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.events.done.clear()
        self.addCleanup(lambda: self.assertEqual(self.loop.getDelayedCalls(), []))

    def test_order(self) -> None:
        """Nothing more is accepted, the streams end, the models go, the guard last."""
        self.load("a").release()
        self.patch(self.service._listening._port, "stopListening", self.events.note("no longer listening"))
        ended = self.service.stopService()
        self.assertEqual(self.events.done, ["STOPPING=1", "no longer listening", "streams closed"])
        self.launcher.child("a").exit()
        self.assertEqual(self.events.done[3:], ["guard dismissed", "records closed"])
        self.successResultOf(ended)

    def test_defect(self) -> None:
        """What goes wrong with what runs beside, or with the streams, keeps no answer and no model from its end."""

        def fail() -> None:
            raise ZeroDivisionError

        beside = Service()
        self.service._beside = [beside]
        for broken in ((beside, "stopService"), (self.service, "_close_streams")):
            self.patch(*broken, fail)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.events.done[-2:], ["guard dismissed", "records closed"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_waits_until_nobody_listens(self) -> None:
        """What follows waits for the port to be closed."""
        closing: Deferred[None] = Deferred()
        self.patch(self.service._listening._port, "stopListening", lambda: closing)
        ended = self.service.stopService()
        self.assertEqual(self.events.done, ["STOPPING=1"])
        closing.callback(None)
        self.successResultOf(ended)

    def test_idle(self) -> None:
        """With nothing loaded it is over at once."""
        self.successResultOf(self.service.stopService())

    def test_never_started(self) -> None:
        """A service that does not listen can be stopped."""
        self.successResultOf(self.make_service("127.0.0.1:8081").stopService())

    def test_answers_end(self) -> None:
        """Running answers may end, and who waits for them is told; then the models go."""
        lease = self.load("a")
        with capturedLogs() as events:
            ended = self.service.stopService()
        self.assertIn("waiting for running answers, 30 s at most", str(formatEvent(events[-1])))
        self.loop.advance(ANSWERS_MAY_TAKE - 1)
        self.assertEqual(self.launcher.child("a").asked, [])
        lease.release()
        self.assertEqual(len(self.launcher.child("a").asked), 1)
        self.launcher.child("a").exit()
        self.successResultOf(ended)

    def test_answers_hang(self) -> None:
        """Answers that do not end are cut after half a minute; what then does not leave is killed."""
        self.load("a")
        ended = self.service.stopService()
        self.loop.advance(ANSWERS_MAY_TAKE)
        self.assertNotIn("kill", self.launcher.child("a").asked)
        self.loop.advance(MODELS_MAY_TAKE)
        self.ends_with_the_killed(ended)
        self.assertLessEqual(self.loop.seconds(), 34)

    def test_during_a_load(self) -> None:
        """A load is ended, and its process killed if it does not leave, within 5 s."""
        granted = self.router.acquire(Target("a"))
        ended = self.service.stopService()
        self.failureResultOf(granted)
        self.loop.advance(MODELS_MAY_TAKE)
        self.ends_with_the_killed(ended)

    def test_models_that_cannot_be_ended(self) -> None:
        """A model that stays although it was killed does not keep the proxy; the guard still has its chance."""
        self.load("a")
        ended = self.service.stopService()
        for seconds in (ANSWERS_MAY_TAKE, MODELS_MAY_TAKE, KILLED_MAY_TAKE):
            self.assertNoResult(ended)
            self.loop.advance(seconds)
        self.successResultOf(ended)
        self.assertIn("guard dismissed", self.events.done)
        self.assertLess(self.loop.seconds() + 2 * LAST_STEP_MAY_TAKE, 35)

    def test_guard_and_records_hang(self) -> None:
        """Nor does a guard that does not leave, or a disk that takes no records."""
        self.service._dismiss_guard = Deferred
        self.service._close_records = Deferred
        ended = self.service.stopService()
        self.loop.advance(LAST_STEP_MAY_TAKE)
        self.loop.advance(MODELS_MAY_TAKE - LAST_STEP_MAY_TAKE)
        self.successResultOf(ended)

    def test_slow_disk(self) -> None:
        """The records may take the time that the models had and did not need; the same signal again cuts it short."""
        for most in (MODELS_MAY_TAKE, HURRIED_MODELS_MAY_TAKE):
            service = self.make_service("127.0.0.1:8081")
            service._close_records = Deferred
            ended = service.stopService()
            if most != MODELS_MAY_TAKE:
                service.hurry()
            self.loop.advance(most - 0.1)
            self.assertNoResult(ended)
            self.loop.advance(0.1)
            self.successResultOf(ended)

    def test_guard_and_records_fail(self) -> None:
        """Nor do they if they fail."""
        self.service._dismiss_guard = self.service._close_records = lambda: fail(ZeroDivisionError())
        self.successResultOf(self.service.stopService())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class SignalTests(ServiceCase):
    """Being told to stop, once and again."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.addCleanup(lambda: self.assertEqual(self.loop.getDelayedCalls(), []))

    def test_first(self) -> None:
        """TERM and INT stop the reactor, which then stops the service."""
        self.signal(signal.SIGINT)
        self.assertEqual(self.loop.stops, 1)

    def test_second_cuts_answers(self) -> None:
        """A second signal cuts what still runs, and gives the models one second."""
        self.load("a")
        self.signal()
        ended = self.service.stopService()
        self.signal()
        self.assertEqual(len(self.launcher.child("a").asked), 1)
        self.loop.advance(HURRIED_MODELS_MAY_TAKE)
        self.ends_with_the_killed(ended)

    def test_second_while_models_leave(self) -> None:
        """Models that are leaving already have one second more; further signals do not prolong it."""
        self.load("a").release()
        self.signal()
        ended = self.service.stopService()
        self.signal()
        for _ in range(4):
            self.loop.advance(HURRIED_MODELS_MAY_TAKE / 4)
            self.signal()
        self.ends_with_the_killed(ended)

    def test_second_when_the_first_is_nearly_done(self) -> None:
        """It prolongs nothing."""
        self.load("a").release()
        self.signal()
        ended = self.service.stopService()
        self.loop.advance(MODELS_MAY_TAKE - 0.1)
        self.signal()
        self.loop.advance(0.1)
        self.assertIn("kill", self.launcher.child("a").asked)
        self.loop.advance(KILLED_MAY_TAKE)
        self.successResultOf(ended)

    def test_second_after_the_end(self) -> None:
        """It is ignored: the exit status is to be 0, and Python would die of it at its own end."""
        self.signal()
        ended = self.service.stopService()
        self.successResultOf(ended)
        self.assertEqual(set(self.handlers), {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        self.assertEqual(set(self.handlers.values()), {signal.SIG_IGN})

    def test_second_before_the_drain(self) -> None:
        """Two signals at once: the reactor is stopped once, and the drain does not wait for answers."""
        self.load("a")
        self.signal()
        self.signal()
        self.assertEqual(self.loop.stops, 1)
        ended = self.service.stopService()
        self.loop.advance(0)
        self.assertEqual(len(self.launcher.child("a").asked), 1)
        self.loop.advance(HURRIED_MODELS_MAY_TAKE)
        self.ends_with_the_killed(ended)

    def test_second_while_the_port_closes(self) -> None:
        """The same when it comes after the drain began, and before answers are waited for."""
        self.load("a")
        closing: Deferred[None] = Deferred()
        self.patch(self.service._listening._port, "stopListening", lambda: closing)
        self.signal()
        ended = self.service.stopService()
        self.signal()
        closing.callback(None)
        self.loop.pump([0, HURRIED_MODELS_MAY_TAKE])
        self.ends_with_the_killed(ended)
