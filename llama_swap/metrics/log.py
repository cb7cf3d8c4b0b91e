"""The log of activity, for the reactor's thread: entries are added at once, and written to the store later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol, TypedDict

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.metrics.activity import Activity
from llama_swap.metrics.query import ActivityQuery
from llama_swap.net.worker import NoThread, Offload

WRITE_EVERY = 0.5
"""Seconds for which entries are collected before they are written; so many are lost when the proxy is killed."""
MOST_WAITING = 10_000
"""The most entries that wait for a slow disk; beyond that, the oldest are dropped."""


class Entry(Protocol):
    """What is kept until it is written, or dropped as too old."""

    number: int

    def activity(self) -> Activity:
        """Return it in the form that is written.  Called in the worker thread."""


class Store(Protocol):
    """Stores entries.  Its methods may block; `add` returns how many entries it cannot represent."""

    def add(self, entries: Iterable[Activity], /) -> int: ...
    def page(self, query: ActivityQuery, /) -> tuple[list[Activity], int]: ...
    def stats(self, model: str, /) -> dict[str, Any]: ...
    def close(self) -> None: ...


class Rhythm(TypedDict):
    """When entries are written, and how many may wait for that."""

    write_every: float | None
    """Seconds from the first entry until they are written; None: only when the store is read."""
    most_waiting: int


class ActivityLog:
    """Numbers entries, and hands them to the store in batches.

    A batch is written `write_every` seconds after its first entry, or, if that is None, only when the store is read.
    At most `most_waiting` entries wait.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        store: Store,
        offload: Offload,
        clock: IReactorTime,
        *,
        number: int,
        write_every: float | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._next = number
        self._write_every = write_every
        self._waiting: deque[Entry] = deque(maxlen=most_waiting)
        self._timer: IDelayedCall | None = None
        self._writing = False

    def move(self, store: Store, *, number: int, write_every: float | None, most_waiting: int) -> None:
        """Go on in another store, whose next entry has at least `number`.  What was written stays in the old one."""
        self._write()
        self._close_store().addErrback(
            lambda failure: self._log.failure("the activity's file of before cannot be closed", failure)
        )
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._store, self._write_every, self._next = store, write_every, max(self._next, number)
        self.bound(most_waiting)

    def bound(self, most_waiting: int) -> None:
        """Set the most entries that wait; beyond that, the oldest are dropped."""
        self._waiting = deque(self._waiting, maxlen=most_waiting)

    @property
    def latest(self) -> int:
        """The number of the latest entry; 0 if there has never been one."""
        return self._next - 1

    def add(self, entries: Sequence[Entry]) -> None:
        """Add entries, in the order in which they ended, and number them."""
        for number, entry in enumerate(entries, self._next):
            entry.number = number
        self._next += len(entries)
        self._waiting.extend(entries)
        if entries and self._write_every is not None and self._timer is None:
            self._timer = self._clock.callLater(self._write_every, self._write_in_time)

    def page(self, query: ActivityQuery) -> Deferred[tuple[list[Activity], int]]:
        """Return a page of entries, and the total number on all pages."""
        self._write()
        return self._offload(partial(self._store.page, query))

    def stats(self, model: str) -> Deferred[dict[str, Any]]:
        """Return sums over all entries, or over those of one model, and histograms of their speeds."""
        self._write()
        return self._offload(partial(self._store.stats, model))

    def close(self) -> Deferred[None]:
        """Write all entries, if the store is to last.  Fires when that is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._write_every is None:
            return succeed(None)
        self._write()
        return self._close_store()

    def _close_store(self) -> Deferred[None]:
        return self._offload(self._store.close).addErrback(_never_opened)

    def _write_in_time(self) -> None:
        assert self._write_every is not None
        self._timer = None
        if self._writing:  # the disk is slow: go on collecting
            self._timer = self._clock.callLater(self._write_every, self._write_in_time)
        else:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            entries, store = list(self._waiting), self._store
            self._waiting.clear()
            self._writing = True
            writing = self._offload(lambda: store.add([entry.activity() for entry in entries]))
            writing.addBoth(self._written, len(entries))

    def _written(self, result: int | Failure, count: int) -> None:
        self._writing = False
        if isinstance(result, Failure):
            lost, reason = count, result.getErrorMessage()
        else:
            lost, reason = result, "they hold what the table cannot"
        if lost:
            self._log.error(
                "{count} entries of the activity are lost, since they cannot be written: {reason}",
                count=lost,
                reason=reason,
            )


def _never_opened(failure: Failure) -> None:
    """There is no thread to close the store in: so there was none to open it in."""
    failure.trap(NoThread)
