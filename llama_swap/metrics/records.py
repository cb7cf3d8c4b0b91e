"""All that is kept of requests, in one place: those under way, the activity, the captures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from llama_swap.metrics.captures import Captures
from llama_swap.metrics.inflight import InFlight
from llama_swap.metrics.log import WRITE_EVERY, ActivityLog, Offload
from llama_swap.metrics.recorder import ActivityRecorder
from llama_swap.metrics.store import Store, first_number


@frozen
class Records:
    """What there is to be seen of requests."""

    in_flight: InFlight
    activity: ActivityLog
    captures: Captures

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
        captures = Captures(capture_bytes)
        return cls(InFlight(ActivityRecorder(activity, captures, session_headers), clock), activity, captures)
