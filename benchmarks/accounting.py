"""What it costs to remember requests: `python benchmarks/accounting.py`, from the top of the checkout.

First between sockets: two proxies side by side, one of which remembers nothing (`unrecorded.py`), take turns under the
same load; what counts is the median of how they compare.  Both are started anew a few times, since the same program has
luck with its memory or has not.  Then in memory, between a client and an upstream without sockets, where nothing else
disturbs the figures: blocks with and without accounting take turns, and the lower quartile of the blocks counts.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import loads
import procfs
import unrecorded
from peers import CannotMeasureError, Peer, llama_swap
from run import prepare
from twisted.internet.task import Clock

from llama_swap.config.model import Config
from llama_swap.metrics.inflight import InFlight
from llama_swap.metrics.records import Retention
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, keep_records, models, site_of
from tests.fakes_wire import Client, Wire

STARTS, TURNS, SECONDS = 3, 6, 1
"""How often both are started, how many turns each has then, and how long a load lasts."""
WARM_UP = 6
"""Seconds; only then the proxy uses connections to its upstream again."""
STREAM_EVENTS = 2500
ROUNDS, BLOCK, EVENTS = 40, 256, 4096
ASK = b'{"model":"a","messages":[{"role":"user","content":"Hi"}]}'
BODY = (
    b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"}}],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


class Proxy:
    """The proxy, with both its ends."""

    def __init__(self) -> None:
        records = keep_records(Clock(), Retention(capture_bytes=5 << 20, session_headers=["X-Session-ID"]))
        self.router: Any = FakeRouter(Config(models=models("a")))
        self.endpoints = Endpoints()
        routes = InferenceRoutes(Forwarder(self.router, self.endpoints, records.in_flight), Inline())
        self.client = Client(site_of(Front(app_with(routes.add_to), routes.direct()), max_body=100_000))

    def ask(self) -> Wire:
        """Send a request; return its connection at the upstream."""
        self.client.ask("POST", "/v1/chat/completions", ASK)
        self.router.grant()
        return self.endpoints.upstream.accept()

    def requests(self) -> float:
        """Return µs of CPU for each of a block of requests."""
        began = time.process_time()
        for _ in range(BLOCK):
            wire = self.ask()
            wire.deliver(ANSWER)
            wire.lose()
            self.client.wire.take()
        return (time.process_time() - began) / BLOCK * 1e6

    def events(self) -> float:
        """Return µs of CPU for each event of a stream."""
        wire = self.ask()
        wire.deliver(STREAM)
        began = time.process_time()
        for _ in range(EVENTS):
            wire.deliver(CHUNK)
            self.client.wire.written = b""
        took = time.process_time() - began
        wire.deliver(b"0\r\n\r\n")
        self.client.wire.take()
        return took / EVENTS * 1e6


def compare(title: str, measure: Callable[[], float]) -> None:
    """Print what one thing costs in memory, with and without accounting."""
    on: list[float] = []
    off: list[float] = []
    for _ in range(ROUNDS):
        on.append(measure())
        with mock.patch.object(InFlight, "add", unrecorded.add):
            off.append(measure())
    with_it, without_it = statistics.quantiles(on)[0], statistics.quantiles(off)[0]
    print(f"{title}, in memory: {with_it:.1f} µs with, {without_it:.1f} µs without: {with_it - without_it:+.1f} µs")


def between_sockets() -> None:
    """Print how much of its speed the proxy keeps while it remembers what passes."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for _ in range(STARTS):
        with ExitStack() as running:
            recorded = running.enter_context(llama_swap())
            forgotten = running.enter_context(llama_swap(program=(unrecorded.__file__,)))
            for peer in (recorded, forgotten):
                loads.requests(peer, 16, WARM_UP)
            for turn in range(TURNS):
                order = (recorded, forgotten) if turn % 2 else (forgotten, recorded)
                figures = {peer.pid: figures_of(peer) for peer in order}
                for key, value in figures[recorded.pid].items():
                    ratios[key].append(value / figures[forgotten.pid][key])
    for key, values in ratios.items():
        low, middle, high = statistics.quantiles(values)
        print(f"{key}: {middle:.3f} of what it is without ({low:.3f} to {high:.3f})")


def figures_of(peer: Peer) -> dict[str, float]:
    """Put one turn of each load on a proxy."""
    before = procfs.cpu_seconds(peer.proxy_pid)
    small = loads.requests(peer, 16, SECONDS)
    between = procfs.cpu_seconds(peer.proxy_pid)
    streams = loads.streams(peer, 16, rate=0, events=STREAM_EVENTS)
    after = procfs.cpu_seconds(peer.proxy_pid)
    return {
        "c=16, requests/s": small["requests"] / small["seconds"],
        "c=16, CPU per request": (between - before) / small["requests"],
        "16 streams, events/s": streams["events_per_second"],
        "16 streams, CPU per event": (after - between) / streams["events"],
    }


if __name__ == "__main__":
    prepare()
    try:
        between_sockets()
    except CannotMeasureError as error:
        sys.exit(f"benchmarks: {error}")
    proxy = Proxy()
    for _ in range(10):
        proxy.requests()
    gc.collect()
    gc.freeze()
    compare("a request", proxy.requests)
    compare("an event", proxy.events)
