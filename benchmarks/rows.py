"""The rows of the table: how each figure is called, and what is expected of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Cells = Mapping[str, Mapping[str, float]]
"""key → peer → median"""
Ratio = Callable[[Cells, str, str], float]
"""Takes the cells, a key, and the peer that is judged; raises KeyError where something was not measured."""


def against(reference: str) -> Ratio:
    """Return how a figure compares with that of another peer."""
    return lambda cells, key, judged: cells[key][judged] / cells[key][reference]


def added(cells: Cells, key: str, judged: str) -> float:
    """Return what a peer adds to going direct, compared with what nginx adds; NaN where that is less than the noise."""
    row = cells[key]
    reference = row["nginx"] - row["direct"]
    return (row[judged] - row["direct"]) / reference if reference > 0 else math.nan


def absolute(cells: Cells, key: str, judged: str) -> float:
    """Return the figure itself, which is judged without a reference."""
    return cells[key][judged]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    ratio: Ratio | None = None
    bar: float | None = None
    """What must be reached."""
    aim: float | None = None
    """What shall be reached."""
    at_least: bool = False
    """Whether more is better."""
    digits: int = 0

    def verdict(self, ratio: float) -> str:
        """Return how a ratio is judged: aim, ok or missed; nothing where there is no bar."""
        if self.bar is None or self.aim is None or math.isnan(ratio):
            return ""
        sign = -1 if self.at_least else 1
        if sign * ratio <= sign * self.aim:
            return "aim"
        return "ok" if sign * ratio <= sign * self.bar else "**missed**"


NOTES = "Ratio: ours to nginx.  ¹ Of what is added to «direct».  ² No ratio: the figure itself."

over_nginx = against("nginx")

ROWS = (
    Row("c1_us", "c=1: p50 µs ¹", added, 3.2, 2),
    Row("c16_rps", "c=16: requests/s", over_nginx, 0.20, 0.30, at_least=True),
    Row("c16_cpu_us", "c=16: CPU µs per request", over_nginx),
    Row("event_us_1", "1 stream: p50 µs per event ¹", added),
    Row("event_us_16", "16 streams: p50 µs per event ¹", added),
    Row("event_us_64", "64 streams: p50 µs per event ¹", added, 1.8, 1.2),
    Row("event_us_256", "256 streams: p50 µs per event ¹", added, 3, 2),
    Row("event_p99_us_64", "64 streams: p99 µs per event ¹", added),
    Row("event_cpu_us_1", "1 stream: CPU µs per event", over_nginx, digits=1),
    Row("event_cpu_us_16", "16 streams: CPU µs per event", over_nginx, digits=1),
    Row("event_cpu_us_64", "64 streams: CPU µs per event", over_nginx, 1.6, 1.2, digits=1),
    Row("event_cpu_us_256", "256 streams: CPU µs per event", over_nginx, digits=1),
    Row("unthrottled_eps", "16 unthrottled streams: events/s", over_nginx, 0.8, 1.0, at_least=True),
    Row("batched_eps", "16 unthrottled streams: events/s, 100 a write", over_nginx),
    Row("first_event_ms", "256 streams at once: last first event, ms", over_nginx, 3, 1.5, digits=1),
    Row("first_event_p50_ms", "256 streams at once: median first event, ms", over_nginx, digits=1),
    Row("start_ms", "start to first 200, ms", over_nginx),
    Row("start_mb", "memory at start, MB ²", absolute, 65, 50),
    Row("requests_mb", "memory after 10,000 requests, MB ²", absolute, 75, 55),
    Row("streams_mb", "memory after 256 streams, MB ²", absolute, 85, 60),
    Row("peak_mb", "20 MB body: peak above start, MB ²", absolute, 45, 25),
    Row("emoji_peak_mb", "20 MB body with an emoji: peak above start, MB ²", absolute),
    Row("body_ms", "20 MB body: p50 ms", over_nginx, 2, 1.2),
    Row("pulse_ms", "20 MB body: longest pulse meanwhile, ms ²", absolute, 50, 20),
    Row("c16_rps", "c=16: requests/s against LiteLLM", against("litellm"), 40, 70, at_least=True),
    Row("models_ratio", "1,000 models against 1: requests/s ²", absolute, 0.95, 1.0, at_least=True, digits=2),
)


def table(cells: Cells, peers: list[str], judged: str = "ours") -> str:
    """Return the rows for which there are figures, as a Markdown table."""
    lines = [
        f"| measure | {' | '.join(peers)} | ratio | bar | aim | |",
        f"|---|{'---:|' * len(peers)}---:|---:|---:|---|",
    ]
    for row in ROWS:
        figures = cells.get(row.key, {})
        if figures:
            cell = (f"{figures[peer]:,.{row.digits}f}" if peer in figures else "–" for peer in peers)
            lines.append(f"| {row.title} | {' | '.join(cell)} | {_judgement(row, cells, judged)} |")
    return "\n".join([*lines, "", NOTES])


def _judgement(row: Row, cells: Cells, judged: str) -> str:
    sign = "≥" if row.at_least else "≤"
    bounds = " | ".join("" if bound is None else f"{sign} {bound:g}" for bound in (row.bar, row.aim))
    try:
        assert row.ratio is not None
        ratio = row.ratio(cells, row.key, judged)
    except (AssertionError, KeyError):
        return f" | {bounds} | "
    return f"{'noise' if math.isnan(ratio) else f'{ratio:.2f}'} | {bounds} | {row.verdict(ratio)}"
