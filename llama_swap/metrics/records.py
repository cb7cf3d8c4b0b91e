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


@frozen(kw_only=True)
class Extent:
    """How much is kept."""

    most_in_memory: int = 1000
    """Entries of the activity, where there is no file for them."""
    capture_bytes: int = 0
    session_headers: Sequence[str] = ()
    """Names of headers that say to which session of a client a request belongs."""
    look_every: float | None = None
    """Seconds from one look at the hardware to the next; None: nobody wants to know."""


@frozen
class Records:
    """What there is to be seen."""

    in_flight: InFlight
    activity: ActivityLog
    captures: Captures
    tallies: Tallies
    lives: ModelLives
    hardware: HardwareWatch
    settle: Callable[[], None]
    """Be done with all requests that are over: whoever looks at the rest wants that first."""
    follow: Callable[[Extent], None]
    """Keep another extent from now on."""

    @classmethod
    def keep(
        cls,
        clock: IReactorTime,
        offload: Offload,
        extent: Extent,
        hardware: HardwareWatch,
        *,
        path: str | None = None,
    ) -> Records:
        """Begin to keep records: the activity in the file at `path`, or the latest of it in memory.

        @raise CannotStore: that file cannot be used.
        """
        in_memory = Store(most=extent.most_in_memory)
        if path is None:
            activity = ActivityLog(in_memory, offload, clock, number=1, most_waiting=extent.most_in_memory)
        else:
            path = str(Path(path).absolute())  # twistd may change the directory
            number = first_number(path)
            activity = ActivityLog(Store(path), offload, clock, number=number, write_every=WRITE_EVERY)
        captures, tallies = Captures(extent.capture_bytes), Tallies(ModelTallies)
        recorder = ActivityRecorder(activity, captures, tallies, clock, extent.session_headers)
        hardware.follow(extent.look_every)

        def follow(extent: Extent) -> None:
            captures.resize(extent.capture_bytes)
            recorder.follow(extent.session_headers)
            hardware.follow(extent.look_every)
            if path is None:
                in_memory.most = extent.most_in_memory
                activity.bound(extent.most_in_memory)

        lives = ModelLives(tallies, clock)
        return cls(InFlight(recorder, clock), activity, captures, tallies, lives, hardware, recorder.settle, follow)

    def close(self) -> Deferred[None]:
        """Write what is meant to last.  Fires when that is done."""
        self.settle()
        return self.activity.close()
