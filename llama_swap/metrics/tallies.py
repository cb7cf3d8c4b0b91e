"""Counts for Prometheus, kept as plain numbers: counting takes a fraction of a microsecond, and no library.

`llama_swap.metrics.exposition` shows them.  They grow with the number of models that the configuration or a peer names,
never with that of requests, whatever names these use.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final, Protocol

from attrs import define, field

from llama_swap.metrics.activity import Reason
from llama_swap.metrics.headers import Content
from llama_swap.metrics.tokens import NOTHING_KNOWN, UNKNOWN, Counts

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the buckets: from a small embedding to a large model loaded from a slow disk."""


class Finished(Protocol):
    """A finished request, with the attributes of `llama_swap.metrics.inflight.InFlightRequest`."""

    status: int
    error: Reason | None
    arrived: float
    granted: float | None
    first_byte: float
    size: int
    ended: float
    content: Content
    tokens: Counts


@define(eq=False)
class Histogram:
    """Durations in buckets."""

    buckets: list[int] = field(factory=lambda: [0] * (len(SECONDS) + 1))
    """Counts by the bounds in `SECONDS`, and of longer times; not cumulative."""
    total: float = 0.0
    """The sum of all durations, in seconds."""

    def add(self, *seconds: float) -> None:
        """Add times; negative ones, from a clock that was set back, count as 0."""
        times, before = sorted(seconds), 0
        for bucket, bound in enumerate(SECONDS):
            if before == len(times):
                break
            so_far = bisect_right(times, bound)
            self.buckets[bucket] += so_far - before
            before = so_far
        self.buckets[-1] += len(times) - before
        self.total += sum(times) if times and times[0] >= 0 else sum(each for each in times if each > 0)


@define(eq=False)
class ModelTallies:
    """Everything that is counted of one model."""

    requests: Counter[int] = field(factory=Counter)
    """Finished inferences, by status."""
    errors: Counter[str] = field(factory=Counter)
    """Inferences that failed, by the code of the error."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    duration: Histogram = field(factory=Histogram)
    """From the arrival of a request to the end of its answer."""
    first_byte: Histogram = field(factory=Histogram)
    """From the arrival of a request to the first byte of its answer's body, where the answer is a stream of events."""
    waiting: Histogram = field(factory=Histogram)
    """From the arrival of a request to its turn."""
    loads: Histogram = field(factory=Histogram)
    """From the start of a process to its first healthy answer."""
    swaps: Histogram = field(factory=Histogram)
    """From the first stop of another model for this one to its first healthy answer."""
    failures: int = 0
    """Loads that failed."""
    crashes: int = 0
    """Ends without a request to stop, of ready models."""
    evictions: int = 0
    """Stops to make room for another model."""

    def count(self, over: Sequence[Finished]) -> None:
        """Count requests that are over; many together cost less."""
        statuses = [each.status for each in over]
        for status in set(statuses):
            self.requests[status] += statuses.count(status)
        self.duration.add(*[each.ended - each.arrived for each in over])
        self.waiting.add(*[each.granted - each.arrived for each in over if each.granted is not None])
        if errors := [each.error.code for each in over if each.error is not None]:
            self.errors.update(errors)
        if streams := [each for each in over if each.content.is_stream and each.size]:
            self.first_byte.add(*[each.first_byte - each.arrived for each in streams])
        self.count_tokens([each.tokens for each in over if each.tokens is not NOTHING_KNOWN])

    def count_tokens(self, counts: Sequence[Counts]) -> None:
        """Add the token counts of some answers."""
        if counts:
            read, written, *others = map(_sum_known, zip_longest(*counts, fillvalue=UNKNOWN))
            self.input_tokens += read
            self.output_tokens += written
            if others:
                cached, drafted, accepted, *_ = others
                self.cached_tokens += cached
                self.drafted_tokens += drafted
                self.accepted_tokens += accepted


def _sum_known(counts: Sequence[Any]) -> Any:
    return sum(counts) - UNKNOWN * counts.count(UNKNOWN)


Tallies = defaultdict[str, ModelTallies]
"""By model."""
