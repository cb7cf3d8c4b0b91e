"""Long checks of streams and bodies: readers that stop reading, clients that leave, large uploads beside."""

from __future__ import annotations

import json
import re
import selectors
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.blackbox import ROOT, ProxyUnderTest, fake_model
from tests.soak.procfs import sample
from tests.soak.report import Finding, at_most, exactly, told
from tests.support_processes import free_port, wait_until

UPSTREAM = ROOT / "build" / "bench" / "upstream"
"""A model server in C, which notes in each event when it was made."""
STAMP = re.compile(rb'"@(\d+)"')
MEGABYTE = 1_000_000


def half_stop_reading() -> list[Finding]:
    """Of 1,000 streams 500 are not read: the others keep their pace, and the memory comes back."""
    with _upstream_in_c() as proxy:
        readers = [_ask_for_stream(proxy.port, events=1000, rate=5) for _ in range(500)]
        alone = _delays(readers, 15)
        before = sample(proxy.pid)
        silent = [_ask_for_stream(proxy.port, events=10_000_000, rate=0, batch=100) for _ in range(500)]
        filling = _delays(readers, 20)  # until no buffer on the way has room any more
        beside = _delays(readers, 15)
        during = sample(proxy.pid)
        for client in silent:
            client.close()
        afterwards = _delays(readers, 5)
        after = sample(proxy.pid)
        for client in readers:
            client.close()
    return [
        told("500 streams alone: median delay of an event", f"{alone:.2f} ms"),
        told("… while the buffers of 500 others fill", f"{filling:.2f} ms"),
        at_most(f"… beside 500 that are not read ({beside:.2f} ms), ratio", beside / alone, 2),
        told("… when those have left", f"{afterwards:.2f} ms"),
        at_most("… memory more while they are not read", during.memory_mb - before.memory_mb, 150, " MB"),
        at_most("… memory more when they have left", after.memory_mb - before.memory_mb, 40, " MB"),
        at_most("… open files more when they have left", after.files - before.files, 2),
    ]


def readers_that_stop() -> list[Finding]:
    """100 clients that do not read the 10 MB that they asked for cost little, and nothing once they have left."""
    with _answering(b"x" * 10 * MEGABYTE) as proxy:
        proxy.chat("m")
        before = sample(proxy.pid)
        clients = [_ask_for_stream(proxy.port) for _ in range(100)]
        time.sleep(10)
        during = sample(proxy.pid)
        for client in clients:
            client.close()
        began = time.monotonic()
        wait_until(lambda: sample(proxy.pid).files <= before.files, 30, "closed files")
        seconds = time.monotonic() - began
    return [
        at_most("100 clients that do not read 10 MB: memory more", during.memory_mb - before.memory_mb, 40, " MB"),
        at_most("… all files closed after they left", seconds, 5, " s"),
    ]


def event_delay() -> list[Finding]:
    """100 events at 50 ms each pass at once."""
    with _upstream_in_c() as proxy:
        client = _ask_for_stream(proxy.port, events=100, rate=20)
        delays = _delays_of([client], 6)
        client.close()
    return [
        exactly("100 events, one every 50 ms: arrived", len(delays) >= 100, True),
        at_most("… delay, 99th of 100", statistics.quantiles(delays, n=100)[98], 20, " ms"),
    ]


def drain() -> list[Finding]:
    """After SIGTERM a stream of 10 s comes to its end, while nobody new is let in."""
    with ProxyUnderTest({"models": {"m": fake_model("m", "--stream 100@100")}}) as proxy:
        with proxy.stream("m") as answer:
            events = answer.events()
            next(events)
            proxy.send_signal(signal.SIGTERM)
            began = time.monotonic()
            wait_until(lambda: not _accepts(proxy.port), 5, "refused connections")
            refused = time.monotonic() - began
            count = 1 + sum(1 for _ in events)
        status = proxy.wait()
        ended = time.monotonic() - began
    return [
        at_most("SIGTERM: connections refused after", refused, 0.1, " s"),
        exactly("… events of the stream that was under way", count, 102),
        exactly("… exit status", status, 0),
        at_most("… exit after", ended, 35, " s"),
    ]


def slow_heads() -> list[Finding]:
    """200 clients that send a byte of their head every 5 s are sent away within 15 s, and delay nobody."""
    with ProxyUnderTest({"models": {"m": fake_model("m")}}) as proxy:
        began = time.monotonic()
        clients = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(200)]
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        waits, open_clients, next_byte = [], set(clients), began + 5
        while open_clients and time.monotonic() < began + 20:
            waits.append(proxy.get("/health").seconds * 1e3)
            if time.monotonic() > next_byte:
                next_byte += 5
                for client in open_clients:
                    client.send(b"x", socket.MSG_NOSIGNAL)
            open_clients -= {client for client in open_clients if _is_closed(client)}
            time.sleep(0.05)
        seconds = time.monotonic() - began
        for client in clients:
            client.close()
    return [
        exactly("200 slow heads: clients still connected", len(open_clients), 0),
        at_most("… all closed after", seconds, 15, " s"),
        at_most("… /health meanwhile, 99th of 100", statistics.quantiles(waits, n=100)[98], 100, " ms"),
    ]


def silent_reader() -> list[Finding]:
    """A client that reads nothing for 300 s is dropped, and its model is told."""
    with _answering(b"x" * 40 * MEGABYTE) as proxy:
        proxy.get("/running")
        began = time.monotonic()
        client = _ask_for_stream(proxy.port)
        event = proxy.journal.wait_for("client_gone", timeout=330)
        seconds = time.monotonic() - began
        client.close()
    return [
        exactly("a client that reads nothing: its model was told", event["ev"], "client_gone"),
        at_most("… after", seconds, 310, " s"),
        exactly("… not before 290 s", seconds > 290, True),
    ]


@contextmanager
def _upstream_in_c() -> Iterator[ProxyUnderTest]:
    """Run a proxy whose model is the C upstream, loaded."""
    assert UPSTREAM.exists(), f"{UPSTREAM} is missing: make build/bench/upstream"
    port = free_port()
    model = {"cmd": f"{UPSTREAM} --port {port}", "proxy": f"http://127.0.0.1:{port}", "concurrencyLimit": 4096}
    with ProxyUnderTest({"models": {"m": model}}) as proxy:
        assert proxy.chat("m").status == 200
        yield proxy


@contextmanager
def _answering(body: bytes) -> Iterator[ProxyUnderTest]:
    """Run a proxy whose model answers everything with this body."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        file.flush()
        with ProxyUnderTest({"models": {"m": fake_model("m", f"--raw {file.name}", concurrencyLimit=200)}}) as proxy:
            yield proxy


def _ask_for_stream(port: int, *, events: int = 1, rate: int = 1, batch: int = 1) -> socket.socket:
    """Send a request, and read nothing; a rate of 0 is as fast as it goes, so many events at a time."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    client.connect(("127.0.0.1", port))
    asked = {"model": "m", "stream": True, "events": events, "rate": rate, "batch": batch, "messages": []}
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


def _delays(clients: list[socket.socket], seconds: float) -> float:
    """Read for so long; return the median of how late events were, in ms."""
    return statistics.median(_delays_of(clients, seconds))


def _delays_of(clients: list[socket.socket], seconds: float) -> list[float]:
    delays: list[float] = []
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as readable:
        for client in clients:
            readable.register(client, selectors.EVENT_READ)
        while time.monotonic() < until:
            for key, _ in readable.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                received = key.fileobj.recv(65536)
                now = time.monotonic_ns()
                delays += [(now - int(made)) / 1e6 for made in STAMP.findall(received)]
                if not received:
                    readable.unregister(key.fileobj)
    return delays


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _is_closed(client: socket.socket) -> bool:
    """Whether the other side has hung up, with or without an answer before."""
    client.setblocking(False)
    try:
        return any(client.recv(65536) == b"" for _ in range(2))
    except BlockingIOError:
        return False
    except OSError:
        return True
