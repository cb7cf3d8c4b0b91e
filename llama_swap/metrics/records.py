"""All records in one place: requests under way, activity, captures, counts, and samples of the hardware."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from llama_swap.config.model import Config
from llama_swap.metrics.captures import Captures
from llama_swap.metrics.inflight import InFlight
from llama_swap.metrics.lives import ModelLives
from llama_swap.metrics.log import MOST_WAITING, WRITE_EVERY, ActivityLog, Rhythm
from llama_swap.metrics.recorder import ActivityRecorder
from llama_swap.metrics.store import Store, next_number, prepare
from llama_swap.metrics.tallies import ModelTallies, Tallies
from llama_swap.metrics.watcher import HardwareWatch
from llama_swap.net.worker import Offload


@frozen(kw_only=True)
class Retention:
    """How much is recorded, and where."""

    path: Path | None = None
    """The absolute path of the file for the activity; None: its latest entries are kept in memory."""
    next_number: int = 1
    """The number of the next entry in the file, if the file is another one than before."""
    most_in_memory: int = 1000
    """The most entries of the activity that are kept without a database."""
    capture_bytes: int = 0
    session_headers: Sequence[str] = ()
    """Names of headers that may contain the session id of a request."""
    look_every: float | None = None
    """Seconds between samples of the hardware; None: none are taken."""

    @classmethod
    def of(cls, config: Config, base: Path) -> Retention:
        """Return the retention of `config`, whose paths are relative to `base`, for a file that is empty."""
        return cls(
            path=None if config.store.path is None else base / config.store.path,
            most_in_memory=config.metrics_max_in_memory,
            capture_bytes=config.capture_buffer * 1024 * 1024,
            session_headers=config.ui.activity.session_id,
            look_every=None if config.performance.disabled else config.performance.every,
        )

    def numbered(self) -> Retention:
        """Return the same with `next_number` read from the database, which `prepare` has made ready.  This may block.

        @raise CannotStore: the file cannot be read.
        """
        return self if self.path is None else evolve(self, next_number=next_number(str(self.path)))


@define(eq=False)
class Records:
    """The records."""

    retention: Retention
    in_flight: InFlight
    activity: ActivityLog
    captures: Captures
    tallies: Tallies
    lives: ModelLives
    hardware: HardwareWatch
    epoch: Callable[[], float]
    """Returns what to add to times of the clock for seconds since 1970; it changes when the system's time is set."""
    _recorder: ActivityRecorder
    _store: Store

    @classmethod
    def keep(
        cls,
        clock: IReactorTime,
        offload: Offload,
        retention: Retention,
        hardware: HardwareWatch,
        time_of_day: Callable[[], float] = time.time,
    ) -> Records:
        """Set up all records, and begin to follow `retention`."""

        def epoch() -> float:
            return time_of_day() - clock.seconds()

        store, captures, tallies = _store(retention), Captures(retention.capture_bytes), Tallies(ModelTallies)
        activity = ActivityLog(store, offload, clock, number=retention.next_number, **_rhythm(retention))
        recorder = ActivityRecorder(activity, captures, tallies, clock, retention.session_headers, epoch=epoch)
        hardware.follow(retention.look_every)
        in_flight, lives = InFlight(recorder, clock, epoch), ModelLives(tallies, clock)
        return cls(retention, in_flight, activity, captures, tallies, lives, hardware, epoch, recorder, store)

    def settle(self) -> None:
        """Settle all requests that are over; to be called before any other record is read."""
        self._recorder.settle()

    def prepared(self, base: Path, config: Config) -> Retention:
        """Return the retention to `follow` for `config`; a new file is made ready.  This may block.

        @raise CannotStore: the file cannot be used.
        """
        retention = Retention.of(config, base)
        if retention.path is None or retention.path == self.retention.path:
            return retention
        prepare(str(retention.path))
        return retention.numbered()

    def follow(self, retention: Retention) -> None:
        """Keep records by `retention` from now on.  With another file, earlier activity stays in the previous one."""
        self.captures.resize(retention.capture_bytes)
        self._recorder.follow(retention.session_headers)
        self.hardware.follow(retention.look_every)
        if retention.path != self.retention.path:
            self.settle()
            self._store = _store(retention)
            self.activity.move(self._store, number=retention.next_number, **_rhythm(retention))
        elif retention.path is None:
            self._store.most = retention.most_in_memory
            self.activity.bound(retention.most_in_memory)
        self.retention = retention

    def close(self) -> Deferred[None]:
        """Write the activity to its file, if any.  Fires when that is done."""
        self.settle()
        return self.activity.close()


def _store(retention: Retention) -> Store:
    return Store(most=retention.most_in_memory) if retention.path is None else Store(str(retention.path))


def _rhythm(retention: Retention) -> Rhythm:
    """Return when entries are written to the store."""
    if retention.path is None:
        return {"write_every": None, "most_waiting": retention.most_in_memory}
    return {"write_every": WRITE_EVERY, "most_waiting": MOST_WAITING}
