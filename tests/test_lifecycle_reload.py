"""Reading the configuration again: one at a time, and a bad one changes nothing."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import ConfigError, Problem
from llama_swap.lifecycle.reload import Reloading
from llama_swap.net.worker import NoThread


class ReloadingTests(SynchronousTestCase):
    """`Reloading`."""

    def setUp(self) -> None:
        """Make one whose readings end when the test says so."""
        self.readings: list[Deferred[Any]] = []
        self.applied: list[object] = []
        self.events: list[LogEvent] = []
        self.patch(Reloading, "_log", Logger(observer=self.events.append))
        self.reloading = Reloading(self.read, self.applied.append)

    def read(self) -> Deferred[Any]:
        """Begin to read."""
        self.readings.append(Deferred())
        return self.readings[-1]

    def test_applies(self) -> None:
        """What was read is applied, once for each request that is by itself."""
        for what in ("first", "second"):
            self.reloading.request()
            self.readings[-1].callback(what)
        self.assertEqual(self.applied, ["first", "second"])

    def test_coalesces(self) -> None:
        """Requests during a reading cause one more, which sees what changed meanwhile."""
        for _ in range(20):
            self.reloading.request()
        self.assertEqual(len(self.readings), 1)
        self.readings[0].callback("old")
        self.assertEqual(len(self.readings), 2)
        self.readings[1].callback("new")
        self.assertEqual((self.applied, len(self.readings)), (["old", "new"], 2))

    def test_bad(self) -> None:
        """A configuration with errors is one warning with all of them; the next good one is applied."""
        self.reloading.request()
        self.readings[0].errback(ConfigError("f.yaml", [Problem(1, "a", "is wrong"), Problem(2, "b", "too")]))
        [event] = self.events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertEqual(event["problems"], "f.yaml:1: a: is wrong | f.yaml:2: b: too")
        self.reloading.request()
        self.readings[1].callback("good")
        self.assertEqual(self.applied, ["good"])

    def test_no_thread(self) -> None:
        """That there is no thread to read in is a warning as well, and no defect."""
        self.reloading.request()
        self.readings[0].errback(NoThread())
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.warn])

    def test_defect(self) -> None:
        """What nobody foresaw is logged, and the next request is heard all the same."""
        self.reloading.request()
        self.readings[0].errback(ZeroDivisionError())
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.critical])
        self.reloading.request()
        self.assertEqual(len(self.readings), 2)

    def test_cannot_begin(self) -> None:
        """The same holds where a reading does not even begin, as without a thread for it."""
        begins = [False, True]
        self.reloading = Reloading(lambda: self.read() if begins.pop(0) else fail_at_once(), self.applied.append)
        self.reloading.request()
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.critical])
        self.reloading.request()
        self.assertEqual(len(self.readings), 1)


def fail_at_once() -> Deferred[Any]:
    """Do what Python does where the system allows no other thread."""
    raise RuntimeError("can't start new thread")
