"""The log of activity: batches, and a store that is slow or fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.metrics.activity import Activity
from llama_swap.metrics.log import MOST_WAITING, WRITE_EVERY, ActivityLog
from llama_swap.metrics.query import ActivityQuery
from llama_swap.net.worker import NoThread
from tests.fakes import Inline
from tests.test_metrics_store import entry, query


class Entry:
    """What is kept of a request."""

    number = 0

    def activity(self) -> Activity:
        """See `llama_swap.metrics.log.Entry`."""
        return entry(self.number)


class FakeStore:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.closed = False
        self.broken = False
        self.odd = 0

    def add(self, entries: Iterable[Activity]) -> int:
        if self.broken:
            raise OSError("disk full")
        self.batches.append([each.number for each in entries])
        return self.odd

    def page(self, query: ActivityQuery) -> tuple[list[Activity], int]:
        return [], sum(map(len, self.batches))

    def stats(self, model: str) -> dict[str, Any]:
        return {"model": model}

    def close(self) -> None:
        self.closed = True


class SlowWorker(Inline):
    """Runs what it is given when the test lets it."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, function: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((function, done))
        return done

    def run(self) -> None:
        """Do all of it."""
        waiting, self.waiting = self.waiting, []
        for function, done in waiting:
            maybeDeferred(function).chainDeferred(done)


class LogTests(SynchronousTestCase):
    """Entries on their way to the store."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = FakeStore()
        self.log = ActivityLog(self.store, Inline(), self.clock, number=5, write_every=WRITE_EVERY)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def add(self, count: int = 1) -> None:
        """Add entries, which the log numbers."""
        self.log.add([Entry() for _ in range(count)])

    def test_numbers_go_on(self) -> None:
        """Numbers begin where the file ends."""
        self.assertEqual(self.log.latest, 4)
        entries = [Entry(), Entry()]
        self.log.add(entries)
        self.assertEqual(([entry.number for entry in entries], self.log.latest), ([5, 6], 6))
        self.clock.advance(WRITE_EVERY)

    def test_batches(self) -> None:
        """Entries are written together, at most half a second after the first of them; an idle log sets no timers."""
        self.add(3)
        self.clock.advance(WRITE_EVERY - 0.01)
        self.assertEqual(self.store.batches, [])
        self.clock.advance(0.01)
        self.assertEqual(self.store.batches, [[5, 6, 7]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asking_sees_all(self) -> None:
        """A page has everything that happened before it was asked for."""
        self.add(2)
        self.assertEqual(self.successResultOf(self.log.page(query()))[1], 2)
        self.add()
        self.assertEqual(self.successResultOf(self.log.stats("m")), {"model": "m"})
        self.assertEqual(self.store.batches, [[5, 6], [7]])
        self.clock.advance(1)

    def test_move(self) -> None:
        """What waits is written where it belongs; what follows goes to the other store, with numbers free in both."""
        self.add(2)
        other = FakeStore()
        self.log.move(other, number=3, write_every=WRITE_EVERY, most_waiting=10)
        self.assertEqual((self.store.batches, self.store.closed), ([[5, 6]], True))
        self.add()
        self.clock.advance(WRITE_EVERY)
        third = FakeStore()
        self.log.move(third, number=100, write_every=None, most_waiting=10)
        self.add()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.log.page(query()))
        self.assertEqual((other.batches, third.batches), ([[7]], [[100]]))

    def test_move_while_writing(self) -> None:
        """What was handed to the worker before the move goes to the store of before, though it is written after it."""
        worker, other = SlowWorker(), FakeStore()
        self.log = ActivityLog(self.store, worker, self.clock, number=5, write_every=WRITE_EVERY)
        self.add(2)
        self.log.move(other, number=3, write_every=None, most_waiting=10)
        while worker.waiting:
            worker.run()
        self.assertEqual((self.store.batches, self.store.closed, other.batches), ([[5, 6]], True, []))

    def test_close(self) -> None:
        """The end writes the rest."""
        self.add(2)
        self.successResultOf(self.log.close())
        self.assertEqual((self.store.batches, self.store.closed), ([[5, 6]], True))

    def test_no_thread(self) -> None:
        """Where there has never been a thread for the store, nothing is to be closed; what waits is said to be lost."""
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        self.log = ActivityLog(self.store, lambda _: fail(NoThread()), self.clock, number=5, write_every=WRITE_EVERY)
        self.add(2)
        self.log.move(FakeStore(), number=3, write_every=WRITE_EVERY, most_waiting=10)
        self.successResultOf(self.log.close())
        self.assertEqual([event.get("count") for event in logged], [2])

    def test_slow_disk(self) -> None:
        """While a batch is being written no other is begun, and what waits is bounded."""
        worker = SlowWorker()
        self.log = ActivityLog(self.store, worker, self.clock, number=1, write_every=WRITE_EVERY)
        self.add()
        self.clock.advance(WRITE_EVERY)
        self.add(MOST_WAITING + 10)
        self.clock.pump([WRITE_EVERY] * 10)
        self.assertEqual(len(worker.waiting), 1)
        worker.run()
        self.clock.advance(WRITE_EVERY)
        worker.run()
        self.assertEqual([len(batch) for batch in self.store.batches], [1, MOST_WAITING])
        self.assertEqual(self.store.batches[1][-1], MOST_WAITING + 11)

    def test_disk_full(self) -> None:
        """What cannot be written is lost, and said to be; the next batch is tried again."""
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        self.store.broken = True
        self.add(3)
        self.clock.advance(WRITE_EVERY)
        [event] = logged
        self.assertEqual((event["count"], event["reason"]), (3, "disk full"))
        self.store.broken = False
        self.add()
        self.clock.advance(WRITE_EVERY)
        self.assertEqual((self.store.batches, len(logged)), ([[8]], 1))
        self.store.odd = 2
        self.add(3)
        self.clock.advance(WRITE_EVERY)
        self.assertEqual(logged[1]["count"], 2)

    def test_in_memory(self) -> None:
        """Without a file nothing is written until somebody asks; the latest entries are kept till then."""
        self.log = ActivityLog(self.store, Inline(), self.clock, number=1, most_waiting=10)
        self.add(25)
        self.assertEqual(self.store.batches, [])
        self.successResultOf(self.log.page(query()))
        self.assertEqual(self.store.batches, [list(range(16, 26))])
        self.successResultOf(self.log.close())
