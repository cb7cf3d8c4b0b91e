"""What is measured of each peer: every measure returns figures by the keys that rows.py knows."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import loads
import procfs
from peers import ROOT, Factory, Peer, llama_swap

Figures = dict[str, float]

RATE = 100
"""Events a second of a paced stream: a model of middling size on a good GPU."""
STREAM_COUNTS = (1, 16, 64, 256)
SETTLING = RATE // 4
"""Events of each stream that come before all streams run evenly, and are not timed."""
SLOW_STREAMS = 64
EMOJI = "\N{ROCKET}"


@dataclass(frozen=True)
class Subject:
    """A peer that runs, and how to start another one of its kind."""

    peer: Peer
    fresh: Factory


Measure = Callable[[Subject, float], Figures]
"""Takes whom to measure, and for how many seconds each load shall last, more or less."""


def one_client(subject: Subject, seconds: float) -> Figures:
    """One client that asks again as soon as it was answered."""
    return {"c1_us": loads.requests(subject.peer, 1, seconds)["p50_us"]}


def sixteen_clients(subject: Subject, seconds: float) -> Figures:
    """Sixteen such clients."""
    peer = subject.peer
    before = _cpu(peer)
    result = loads.requests(peer, 16, seconds)
    figures = {"c16_rps": result["requests"] / result["seconds"]}
    if peer.pid is not None:
        figures["c16_cpu_us"] = (_cpu(peer) - before) / result["requests"] * 1e6
    return figures


def paced_streams(count: int, subject: Subject, seconds: float) -> Figures:
    """So many streams of 100 events a second each."""
    peer = subject.peer
    if peer.slow and count > SLOW_STREAMS:
        return {}
    before = _cpu(peer)
    result = loads.streams(peer, count, rate=RATE, events=SETTLING + max(20, round(RATE * seconds)), skip=SETTLING)
    figures = {f"event_us_{count}": result["delay_us"]["p50"], f"event_p99_us_{count}": result["delay_us"]["p99"]}
    if peer.pid is not None:
        figures[f"event_cpu_us_{count}"] = (_cpu(peer) - before) / result["events"] * 1e6
    return figures


def unthrottled(subject: Subject, seconds: float) -> Figures:
    """Sixteen streams as fast as they go: one write an event, as model servers do, and a hundred events a write."""
    if subject.peer.slow:
        return {}
    small = loads.streams(subject.peer, 16, rate=0, events=round(10_000 * seconds))
    large = loads.streams(subject.peer, 16, rate=0, events=round(20_000 * seconds), batch=100)
    return {"unthrottled_eps": small["events_per_second"], "batched_eps": large["events_per_second"]}


def first_events(subject: Subject, seconds: float) -> Figures:
    """256 streams that start at once."""
    del seconds
    if subject.peer.slow:
        return {}
    times = [loads.streams(subject.peer, 256, rate=20, events=10)["first_event_ms"] for _ in range(2)]
    return {
        "first_event_ms": statistics.mean(each["max"] for each in times),
        "first_event_p50_ms": statistics.mean(each["p50"] for each in times),
    }


def large_bodies(subject: Subject, seconds: float) -> Figures:
    """Prompts of 20 MB, and the pulse of the proxy meanwhile."""
    times = 2 if subject.peer.slow else max(3, round(5 * seconds))
    result = loads.bodies(subject.peer, loads.large_body(), times=times)
    return {"body_ms": statistics.median(result["body_ms"]), "pulse_ms": result["longest_pulse_ms"]}


def memory(subject: Subject, seconds: float) -> Figures:
    """What a fresh process occupies: at first, after requests, after streams, and at most while 20 MB bodies pass."""
    del seconds
    if subject.peer.pid is None:
        return {}
    figures = {"start_ms": subject.peer.start_ms, "start_mb": subject.peer.start_mb}
    if subject.peer.slow:
        return figures
    with subject.fresh() as peer:
        sent = 0
        while sent < 10_000:
            sent += loads.requests(peer, 16, 1)["requests"]
        figures["requests_mb"] = procfs.resident_mb(peer.proxy_pid)
        loads.streams(peer, 256, rate=20, events=20)
        figures["streams_mb"] = procfs.resident_mb(peer.proxy_pid)
    for key, extra in (("peak_mb", ""), ("emoji_peak_mb", EMOJI)):
        with subject.fresh() as peer:
            procfs.reset_peak(peer.proxy_pid)
            before = procfs.resident_mb(peer.proxy_pid)
            loads.bodies(peer, loads.large_body(extra), times=3)
            figures[key] = procfs.peak_mb(peer.proxy_pid) - before
    return figures


TRIAL = 5.0
"""Seconds after which a fresh llama-swap uses connections to its upstream again, as others do from the beginning."""


def thousand_models(subject: Subject, seconds: float) -> Figures:
    """Requests for one model of a thousand; only for llama-swap, and beside its one-model self in turns."""
    if subject.peer.name != "ours":
        return {}
    with llama_swap(ROOT, models=1000) as crowded:
        loads.requests(crowded, 16, TRIAL)
        rounds = [
            [loads.requests(peer, 16, seconds / 2)["requests"] for peer in (subject.peer, crowded)] for _ in range(2)
        ]
    alone, among = (sum(each) for each in zip(*rounds, strict=True))
    return {"models_ratio": among / alone}


MEASURES: dict[str, Measure] = {
    "c1": one_client,
    "c16": sixteen_clients,
    **{f"streams-{count}": partial(paced_streams, count) for count in STREAM_COUNTS},
    "unthrottled": unthrottled,
    "first-event": first_events,
    "body": large_bodies,
    "models": thousand_models,
    "memory": memory,
}
ONCE = ("memory",)
"""What hardly varies, and takes long: only measured in the first round."""


def _cpu(peer: Peer) -> float:
    return procfs.cpu_seconds(peer.pid) if peer.pid is not None else 0.0
