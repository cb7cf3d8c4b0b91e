"""The distribution of values.  Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

FEWEST_BINS, MOST_BINS = 5, 20


def histogram(values: Sequence[float]) -> dict[str, Any] | None:
    """Return counts in bins of equal width, as many as by Sturges' rule, and percentiles; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    least, most = ordered[0], ordered[-1]
    wanted = 1 if least == most else math.ceil(math.log2(len(ordered))) + 1
    count = 1 if least == most else min(MOST_BINS, max(FEWEST_BINS, wanted))
    width = (most - least) / count
    bins = [0] * count
    for value in ordered:
        bins[min(int((value - least) / width), count - 1) if width else 0] += 1
    return {
        "bins": bins,
        "min": least,
        "max": most,
        "binSize": width,
        "p50": percentile(ordered, 50),
        "p95": percentile(ordered, 95),
        "p99": percentile(ordered, 99),
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of `ordered` lie, interpolated between neighbours."""
    rank = percent / 100 * (len(ordered) - 1)
    below, above = math.floor(rank), math.ceil(rank)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])
