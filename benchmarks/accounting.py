"""What it costs to remember requests: `python benchmarks/accounting.py`, from the top of the checkout.

The proxy runs in memory, between a client and an upstream without sockets, so that nothing else disturbs the figures.
Blocks of requests with and without accounting take turns; the lower quartile of the blocks counts.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

from twisted.internet.task import Clock

from llama_swap.config.model import Config
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.metrics.records import Extent
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, keep_records, models, site_of
from tests.fakes_wire import Client, Wire

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
        records = keep_records(Clock(), Extent(capture_bytes=5 << 20, session_headers=["X-Session-ID"]))
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


def without() -> Any:
    """Return a context in which nothing is noted."""
    return mock.patch.multiple(
        InFlightRequest,
        begin=lambda self, status, fields, *, chunked: None,
        data=lambda self, data: None,
        over=lambda self, error=None: _forget(self),
    )


def _forget(request: Any) -> None:
    request._registry.remove(request)  # noqa: SLF001
    request.cancel = None


def compare(title: str, measure: Callable[[], float]) -> None:
    """Print what one thing costs with and without accounting."""
    on: list[float] = []
    off: list[float] = []
    for _ in range(ROUNDS):
        on.append(measure())
        with without():
            off.append(measure())
    with_it, without_it = statistics.quantiles(on)[0], statistics.quantiles(off)[0]
    print(f"{title}: {with_it:.1f} µs with, {without_it:.1f} µs without: {with_it - without_it:+.1f} µs")


if __name__ == "__main__":
    proxy = Proxy()
    for _ in range(10):
        proxy.requests()
    gc.collect()
    gc.freeze()
    compare("a request", proxy.requests)
    compare("an event", proxy.events)
