"""All that is kept, in one place: requests under way, activity, captures, counts, and how the hardware does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from llama_swap.metrics.captures import Captures
from llama_swap.metrics.inflight import InFlight
from llama_swap.metrics.lives import ModelLives
from llama_swap.metrics.log import WRITE_EVERY, ActivityLog, Offload
from llama_swap.metrics.recorder import ActivityRecorder
from llama_swap.metrics.store import Store, first_number
from llama_swap.metrics.tallies import ModelTallies, Tallies
from llama_swap.metrics.watcher import HardwareWatch


@frozen
class Records:
    """What there is to be seen."""

    in_flight: InFlight
    activity: ActivityLog
    captures: Captures
    tallies: Tallies
    lives: ModelLives
    hardware: HardwareWatch | None
    """None: nobody wants to know."""
    settle: Callable[[], None]
    """Be done with all requests that are over: whoever looks at the rest wants that first."""

    @classmethod
    def keep(
        cls,
        clock: IReactorTime,
        offload: Offload,
        *,
        path: str | None,
        most_in_memory: int,
        capture_bytes: int,
        session_headers: Sequence[str],
        hardware: HardwareWatch | None = None,
    ) -> Records:
        """Begin to keep records: the activity in the file at `path`, or the latest of it in memory.

        @raise CannotStore: that file cannot be used.
        """
        if path is None:
            store = Store(most=most_in_memory)
            activity = ActivityLog(store, offload, clock, number=1, most_waiting=most_in_memory)
        else:
            path = str(Path(path).absolute())  # twistd may change the directory
            number = first_number(path)
            activity = ActivityLog(Store(path), offload, clock, number=number, write_every=WRITE_EVERY)
        captures, tallies = Captures(capture_bytes), Tallies(ModelTallies)
        recorder = ActivityRecorder(activity, captures, tallies, clock, session_headers)
        lives = ModelLives(tallies, clock)
        return cls(InFlight(recorder, clock), activity, captures, tallies, lives, hardware, recorder.settle)

    def close(self) -> Deferred[None]:
        """Write what is meant to last.  Fires when that is done."""
        self.settle()
        return self.activity.close()
