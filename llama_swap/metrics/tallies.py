"""Counts for Prometheus, kept as plain numbers: to count costs a fraction of a microsecond, and no library.

`llama_swap.metrics.exposition` shows them.  All of this grows with the number of models, never with that of requests.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Final

from attrs import define, field

SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the buckets: from a small embedding to a large model that is loaded from a slow disk."""


@define(eq=False)
class Spread:
    """How long something took, each time."""

    buckets: list[int] = field(factory=lambda: [0] * (len(SECONDS) + 1))
    """How often it took up to each of `SECONDS`, and longer; each time is in one of them."""
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """It happened again."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


@define(eq=False)
class ModelTallies:
    """Everything that is counted of one model."""

    requests: Counter[int] = field(factory=Counter)
    """Inferences that are over, by status."""
    errors: Counter[str] = field(factory=Counter)
    """Those of them that ended before their time, by the code of the error."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    duration: Spread = field(factory=Spread)
    """From the coming of a request to the end of its answer."""
    first_byte: Spread = field(factory=Spread)
    """From the coming of a request to the first byte of its answer's body, where the answer is a stream of events."""
    waiting: Spread = field(factory=Spread)
    """From the coming of a request to its turn."""
    loads: Spread = field(factory=Spread)
    """From the start of a process to its first healthy answer."""
    swaps: Spread = field(factory=Spread)
    """From the first order to stop a model in the way to the first healthy answer of this one."""
    failures: int = 0
    """Loads that came to nothing."""
    crashes: int = 0
    """Ends that nobody had asked for."""
    evictions: int = 0
    """Ends for the sake of another model."""


Tallies = defaultdict[str, ModelTallies]
"""By model."""
