"""When a model's address is free, and when the model answers: probes on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import NobodyListens, NotReadyInTime, StartFailed, UpstreamError
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.upstream.readiness import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_QUICK_PAUSE,
    PROBE_TIMEOUT,
    QUICK_PAUSE,
    RELEASE_TIMEOUT,
    SHARE_OF_LOAD,
    STRANGER_TIMEOUT,
    Prober,
)
from tests.fakes import FakeEndpoint, make_model

HEALTH_TIMEOUT = 30.0


class ProberCase(SynchronousTestCase):
    """A prober whose questions the test answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint()
        self.asked: list[str] = []
        self.statuses: list[Deferred[int]] = []
        self.logs = Broadcaster()
        self.known: dict[int, str] = {}
        self.prober = Prober(self.clock, self.endpoint_of, self.get_status, self.logs, self.owner_of, HEALTH_TIMEOUT)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def endpoint_of(self, url: str) -> FakeEndpoint:
        """Be the `endpoint` of the prober."""
        self.asked.append(url)
        return self.endpoint

    def get_status(self, url: str) -> Deferred[int]:
        """Be the `get_status` of the prober."""
        self.asked.append(url)
        status: Deferred[int] = Deferred()
        self.statuses.append(status)
        return status

    def owner_of(self, port: int) -> Deferred[str]:
        """Be the `owner_of` of the prober."""
        return succeed(self.known.get(port, ""))

    def refuse(self) -> None:
        """Refuse the latest connection."""
        self.endpoint.attempts[-1][1].errback(Refused())

    def accept(self) -> StringTransport:
        """Accept the latest connection; return our side of it."""
        factory, connecting = self.endpoint.attempts[-1]
        protocol: Any = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        connecting.callback(protocol)
        return transport

    def answer(self, status: int) -> None:
        """Answer the latest question for health."""
        self.statuses[-1].callback(status)

    def meet(self, met: int | Exception) -> None:
        """Answer the latest question for health, or let it fail."""
        if isinstance(met, int):
            self.answer(met)
        else:
            self.statuses[-1].errback(met)

    def nobody_listens(self) -> None:
        """Refuse the latest question for health."""
        self.statuses[-1].errback(NobodyListens("refused"))

    def say(self, words: bytes = b"loading\n") -> None:
        """Be the model, printing something."""
        self.logs.writer("m").write(words)

    def pass_pause(self) -> float:
        """Let the pause before the next probe pass; return when that is."""
        (call,) = self.clock.getDelayedCalls()
        self.clock.advance(call.getTime() - self.clock.seconds())
        return self.clock.seconds()

    def repeat(self, probe: Deferred[None], reply: Callable[[], object]) -> list[float]:
        """Answer each probe at once with `reply`, until there are no more; return when each went out."""
        went_out = [self.clock.seconds()]
        while True:
            reply()
            if probe.called:
                return went_out
            went_out.append(self.pass_pause())


class AddressTests(ProberCase):
    """`address_free`."""

    def setUp(self) -> None:
        super().setUp()
        self.model = make_model("m", 9007)

    def test_free_at_once(self) -> None:
        """A refused connection means free, with the first probe, in no time."""
        free = self.prober.address_free(self.model)
        self.assertNoResult(free)
        self.assertEqual(self.asked, ["http://127.0.0.1:9007"])
        self.refuse()
        self.successResultOf(free)
        self.assertEqual(self.clock.seconds(), 0)

    def test_waits_for_its_release(self) -> None:
        """An address that is still taken is asked again after 20 ms, until it is free."""
        free = self.prober.address_free(self.model)
        self.accept()
        self.clock.advance(FIRST_PAUSE - 0.001)
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(0.001)
        self.assertEqual(len(self.asked), 2)
        self.assertNoResult(free)
        self.refuse()
        self.successResultOf(free)

    def test_hangs_up(self) -> None:
        """A connection that was only to be had is dropped at once."""
        free = self.prober.address_free(self.model)
        self.assertTrue(self.accept().disconnecting)
        free.cancel()
        self.failureResultOf(free, CancelledError)

    def taken(self) -> tuple[str, float]:
        """Have a stranger stay where the model is to listen; return what is said, and after how long."""
        began = self.clock.seconds()
        free = self.prober.address_free(self.model)
        times = self.repeat(free, self.accept)
        return str(self.failureResultOf(free, StartFailed).value), times[-1] - began

    def test_taken_for_good(self) -> None:
        """Another program that stays there is named, with what to do; no model was there that it could come from."""
        self.known[9007] = "pid 4711 (ollama)"
        error, seconds = self.taken()
        for part in ("model m", "another program listens on port 9007", ": pid 4711 (ollama).", "models.m.proxy"):
            self.assertIn(part, error)
        self.assertAlmostEqual(seconds, STRANGER_TIMEOUT)

    def test_taken_by_who_knows_whom(self) -> None:
        """Of other users' programs one is told how to find them."""
        error, _ = self.taken()
        self.assertIn(": `sudo ss -ltnp 'sport = :9007'` names it. Stop", error)

    def test_released_slowly(self) -> None:
        """Where a model was, what is left of it has more time to go; what has not gone then is a stranger."""
        free = self.prober.address_free(self.model)
        self.refuse()
        self.successResultOf(free)
        for expected in (RELEASE_TIMEOUT, STRANGER_TIMEOUT):
            _, seconds = self.taken()
            self.assertAlmostEqual(seconds, expected)

    def test_accepts_nobody(self) -> None:
        """An address where a connection hangs is free: nobody accepts it."""
        free = self.prober.address_free(self.model)
        self.clock.advance(PROBE_TIMEOUT)
        self.successResultOf(free)

    def test_other_loopback(self) -> None:
        """Every address of this machine is looked at."""
        free = self.prober.address_free(make_model("m", proxy="http://127.0.0.2:9007"))
        self.assertEqual(self.asked, ["http://127.0.0.2:9007"])
        self.refuse()
        self.successResultOf(free)

    def test_remote(self) -> None:
        """Elsewhere a server may well be running already: nobody is asked."""
        self.successResultOf(self.prober.address_free(make_model("m", proxy="http://gpu.example:8080")))
        self.assertEqual(self.asked, [])


class HealthTests(ProberCase):
    """`healthy`."""

    def setUp(self) -> None:
        super().setUp()
        self.model = make_model("m", 9007, check_endpoint="/v1/ok")

    def test_first_probe_at_once(self) -> None:
        """The health endpoint is asked in the moment of the launch; 200 is ready."""
        healthy = self.prober.healthy(self.model)
        self.assertEqual(self.asked, ["http://127.0.0.1:9007/v1/ok"])
        self.answer(200)
        self.successResultOf(healthy)
        self.assertEqual(self.clock.seconds(), 0)

    def test_only_200_counts(self) -> None:
        """Any other status, a refused connection, an unknown name and a broken answer mean: not yet."""
        healthy = self.prober.healthy(self.model)
        for status in (503, 404, 204, 301):
            self.answer(status)
            self.pass_pause()
        for error in (Refused(), DNSLookupError(), UpstreamError("cut")):
            self.statuses[-1].errback(error)
            self.assertNoResult(healthy)
            self.pass_pause()
        self.answer(200)
        self.successResultOf(healthy)

    def test_misled(self) -> None:
        """A status that no loading server gives is told at once, and once for each load; 503 is not worth a word."""
        for _ in range(2):
            with capturedLogs() as events:
                healthy = self.prober.healthy(self.model)
                for status in (503, 404, 404, 401):
                    self.answer(status)
                    self.pass_pause()
                self.answer(200)
            self.successResultOf(healthy)
            (told,) = map(formatEvent, events)
            self.assertIn(f"asked for {self.asked[-1]}, it answered 404; set `checkEndpoint`", told)

    def test_pauses(self) -> None:
        """Every 20 ms at first, then rarer, so that at most a hundredth of the load is lost, or 250 ms."""
        healthy = self.prober.healthy(self.model)
        times = self.repeat(healthy, lambda: self.answer(503))
        self.failureResultOf(healthy, NotReadyInTime)
        for began, following in pairwise(times[:-1]):
            expected = min(max(FIRST_PAUSE, began * SHARE_OF_LOAD), LONGEST_PAUSE)
            self.assertAlmostEqual(following - began, expected)
        self.assertEqual([round(time, 3) for time in times[:4]], [0, 0.02, 0.04, 0.06])
        self.assertAlmostEqual(times[-2] - times[-3], LONGEST_PAUSE)

    def test_pauses_while_nobody_listens(self) -> None:
        """Looking costs little as long as connections are refused: first every 3 ms, never rarer than every 10."""
        healthy = self.prober.healthy(self.model)
        times = self.repeat(healthy, self.nobody_listens)
        self.failureResultOf(healthy, NotReadyInTime)
        for began, following in pairwise(times[:-1]):
            self.assertAlmostEqual(following - began, min(max(QUICK_PAUSE, began * SHARE_OF_LOAD), LONGEST_QUICK_PAUSE))
        self.assertAlmostEqual(times[1], QUICK_PAUSE)
        self.assertAlmostEqual(times[-2] - times[-3], LONGEST_QUICK_PAUSE)

    def test_pauses_elsewhere(self) -> None:
        """Other hosts are asked no more often than every 20 ms, whatever they answer."""
        healthy = self.prober.healthy(make_model("m", proxy="http://gpu.example:8080"))
        self.nobody_listens()
        self.assertAlmostEqual(self.pass_pause(), FIRST_PAUSE)
        self.answer(200)
        self.successResultOf(healthy)

    def test_not_in_time(self) -> None:
        """After the timeout, with one last probe, the error names the model, what was asked, and the setting."""
        healthy = self.prober.healthy(self.model)
        times = self.repeat(healthy, lambda: self.answer(503))
        error = str(self.failureResultOf(healthy, NotReadyInTime).value)
        for part in ("model m", "http://127.0.0.1:9007/v1/ok", "30 s", "healthCheckTimeout"):
            self.assertIn(part, error)
        self.assertAlmostEqual(times[-1], HEALTH_TIMEOUT)

    def test_says_what_came_last(self) -> None:
        """What the last probe met is told, and what may help; a server that may be loading was asked rightly."""
        loads = "if it needs longer to load, raise healthCheckTimeout"
        met: list[tuple[int | Exception, str]] = [
            (
                NobodyListens("refused"),
                f"connection refused; {loads}, else compare the port in `cmd` with that in `proxy`",
            ),
            (404, "it answered 404; set `checkEndpoint` to a path that it answers with 200, or to none"),
            (503, f"it answered 503; {loads}"),
            (UpstreamError("it closed the connection."), "it closed the connection"),
        ]
        for last, words in met:
            healthy = self.prober.healthy(self.model)
            self.repeat(healthy, partial(self.meet, last))
            error = str(self.failureResultOf(healthy, NotReadyInTime).value)
            self.assertEqual(error.partition("(healthCheckTimeout); the last try: ")[2], words)

    def test_says_that_nothing_came(self) -> None:
        """A server that takes connections and says nothing is told of as such."""
        healthy = self.prober.healthy(self.model)
        while not healthy.called:
            self.clock.advance(0.25)
        self.assertIn("the last try: no answer; if", str(self.failureResultOf(healthy, NotReadyInTime).value))

    def test_probe_hangs(self) -> None:
        """A probe that is never answered stands for 5 s only; the next one may succeed."""
        healthy = self.prober.healthy(self.model)
        self.clock.advance(PROBE_TIMEOUT)
        self.assertNoResult(healthy)
        self.assertEqual(len(self.statuses), 1)
        self.pass_pause()
        self.answer(200)
        self.successResultOf(healthy)

    def test_last_probe_hangs(self) -> None:
        """Probes that hang do not make the timeout longer."""
        healthy = self.prober.healthy(self.model)
        while not healthy.called:
            self.clock.advance(0.25)
        self.failureResultOf(healthy, NotReadyInTime)
        self.assertLess(self.clock.seconds(), HEALTH_TIMEOUT + 1)

    def test_without_endpoint(self) -> None:
        """With `checkEndpoint: none` a connection that is accepted is enough."""
        healthy = self.prober.healthy(make_model("m", 9007, check_endpoint=None))
        self.assertEqual(self.asked, ["http://127.0.0.1:9007"])
        self.refuse()
        self.pass_pause()
        self.accept()
        self.successResultOf(healthy)

    def test_without_endpoint_not_in_time(self) -> None:
        """The error then says what was tried."""
        healthy = self.prober.healthy(make_model("m", 9007, check_endpoint=None))
        self.repeat(healthy, self.refuse)
        self.assertIn("a connection to http://127.0.0.1:9007", str(self.failureResultOf(healthy, NotReadyInTime).value))

    def test_unforeseen_error(self) -> None:
        """What is no matter of waiting is passed on."""
        healthy = self.prober.healthy(self.model)
        self.statuses[-1].errback(ZeroDivisionError())
        self.failureResultOf(healthy, ZeroDivisionError)


class HintTests(ProberCase):
    """A model that prints something may be ready."""

    def setUp(self) -> None:
        super().setUp()
        self.healthy = self.prober.healthy(make_model("m", 9007))

    def ready(self) -> float:
        """Be ready with the next probe; return how long that took from now."""
        began = self.clock.seconds()
        self.pass_pause()
        self.answer(200)
        self.successResultOf(self.healthy)
        return self.clock.seconds() - began

    def repeat_silently(self, seconds: float) -> None:
        """Load for so long, without a word."""
        self.answer(503)
        while self.clock.seconds() < seconds:
            self.pass_pause()
            self.answer(503)

    def test_ends_a_long_pause(self) -> None:
        """However rare they have become, the probe comes as fast as ever."""
        self.repeat_silently(29.0)
        self.say()
        self.assertAlmostEqual(self.ready(), QUICK_PAUSE)

    def test_never_makes_a_pause_longer(self) -> None:
        """Neither does a model that prints all the time put off its probes."""
        self.answer(503)
        self.clock.advance(FIRST_PAUSE - QUICK_PAUSE / 2)
        self.say()
        self.say()
        self.assertAlmostEqual(self.ready(), QUICK_PAUSE / 2)

    def test_while_a_probe_is_under_way(self) -> None:
        """What is printed meanwhile may be younger than the answer; it counts once."""
        self.say()
        self.answer(503)
        self.assertAlmostEqual(self.pass_pause(), QUICK_PAUSE)
        self.answer(503)
        self.assertAlmostEqual(self.ready(), FIRST_PAUSE)

    def test_a_chatty_model(self) -> None:
        """However much it prints: one probe each 3 ms at most."""
        probes = len(self.asked)
        for _ in range(100):
            self.say()
            if not self.statuses[-1].called:
                self.answer(503)
            self.clock.advance(QUICK_PAUSE / 10)
        self.assertLessEqual(len(self.asked) - probes, 10)
        self.ready()

    def test_others(self) -> None:
        """What other models print, or what this one printed before, does not count."""
        self.answer(503)
        self.logs.writer("other").write(b"loading\n")
        self.assertAlmostEqual(self.ready(), FIRST_PAUSE)
        self.say()
        self.healthy = self.prober.healthy(make_model("m", 9007))
        self.answer(503)
        self.assertAlmostEqual(self.ready(), FIRST_PAUSE)

    def test_ready_or_given_up(self) -> None:
        """What it prints later is none of the prober's business: no alarm is set any more (checked after each test)."""
        self.answer(200)
        self.say()
        given_up = self.prober.healthy(make_model("m", 9007))
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.say()


class CancellingTests(ProberCase):
    """Probing that is given up ends, in every phase, and leaves no delayed call (checked after each test)."""

    models = (make_model("m"), make_model("m", check_endpoint=None))

    def assert_ends(self, probing: Deferred[None]) -> None:
        """Cancelling ends `probing`: no probe comes after it."""
        probes = len(self.asked)
        probing.cancel()
        self.failureResultOf(probing, CancelledError)
        self.clock.pump([PROBE_TIMEOUT] * 3)
        self.assertEqual(len(self.asked), probes)

    def test_during_the_probe(self) -> None:
        """Cancelled while a connection or an answer is awaited: that is cancelled, too."""
        for model in self.models:
            self.assert_ends(self.prober.address_free(model))
            self.assert_ends(self.prober.healthy(model))
        for waited in (*self.statuses, *(connecting for _, connecting in self.endpoint.attempts)):
            self.assertTrue(waited.called)

    def test_during_the_pause(self) -> None:
        """Cancelled between two probes."""
        free = self.prober.address_free(self.models[0])
        self.accept()
        self.assert_ends(free)
        healthy = self.prober.healthy(self.models[0])
        self.answer(503)
        self.assert_ends(healthy)

    def test_whatever_endpoints_make_of_it(self) -> None:
        """Endpoints answer a cancellation with errors of their own: that is no answer of the model."""
        for error in (ConnectingCancelledError(None), DNSLookupError(), Refused(), ZeroDivisionError()):
            self.endpoint.error_when_cancelled = error
            self.assert_ends(self.prober.address_free(self.models[1]))
            self.assert_ends(self.prober.healthy(self.models[1]))

    def test_a_probe_that_was_too_late(self) -> None:
        """The same errors, after the time of one probe is over, mean: not yet."""
        for error in (ConnectingCancelledError(None), DNSLookupError()):
            self.endpoint.error_when_cancelled = error
            healthy = self.prober.healthy(self.models[1])
            self.clock.advance(PROBE_TIMEOUT)
            self.assertNoResult(healthy)
            self.pass_pause()
            self.accept()
            self.successResultOf(healthy)

    def test_after_the_answer(self) -> None:
        """Cancelled when it is over: nothing happens."""
        healthy = self.prober.healthy(self.models[0])
        self.answer(200)
        healthy.cancel()
        self.successResultOf(healthy)
