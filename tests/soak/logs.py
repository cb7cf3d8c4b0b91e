"""Long checks of the logs: readers that do not read, and more output than anybody can keep."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path

from tests.blackbox import ProxyUnderTest, fake_model
from tests.soak.procfs import sample
from tests.soak.report import Finding, at_most, exactly, told
from tests.support_client import Stream
from tests.support_processes import wait_until

HISTORY = 100 * 1024


def readers_of_a_torrent() -> list[Finding]:
    """20 readers that never read a log of 50 MB/s slow nothing down, and are told what they missed."""
    with ProxyUnderTest({"models": {"m": fake_model("m", "--stream 200@20 --log-rate 50")}}) as proxy:
        proxy.served("m")
        alone, before = _time_of_stream(proxy), sample(proxy.pid)
        logs = [proxy.reading("/logs/stream") for _ in range(20)]
        beside, during = _time_of_stream(proxy), sample(proxy.pid)
        is_told = _hears_of_loss(logs[0], 10)
        for log in logs:
            log.hang_up()
    return [
        told("a stream beside a log of 50 MB/s", f"{alone:.2f} s"),
        at_most(f"… with 20 readers that do not read ({beside:.2f} s), slower", (beside / alone - 1) * 100, 10, " %"),
        at_most("… memory more", during.memory_mb - before.memory_mb, 40, " MB"),
        exactly("… who reads again is told of what was dropped", is_told, True),
    ]


def a_gigabyte() -> list[Finding]:
    """1 GB of output of 10 models leaves the last 100 KiB of each, and no more."""
    names = [f"m{number}" for number in range(10)]
    models = {name: fake_model(name, "--log-rate 8") for name in names}
    with ProxyUnderTest({"models": models, "profiles": {"p": names}}) as proxy:
        proxy.served("p:m0")
        wait_until(lambda: list(proxy.running().values()) == ["ready"] * 10, 20, "ten models that run")
        time.sleep(3)  # until the rings are full
        before = sample(proxy.pid)
        time.sleep(15)
        after = sample(proxy.pid)
        read_bytes = _read_by(proxy.pid)
        proxy.get("/unload")
        sizes = [_history(proxy, name) for name in names]
    return [
        told("output of ten models, read by the proxy", f"{read_bytes / 1e6:,.0f} MB"),
        at_most("… memory more", after.memory_mb - before.memory_mb, 20, " MB"),
        at_most("… history of a model at most", max(sizes), HISTORY, " bytes"),
        exactly("… and not much less", min(sizes) > HISTORY * 0.9, True),
    ]


def _time_of_stream(proxy: ProxyUnderTest) -> float:
    """Return how long a stream takes, the median of three."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        with proxy.stream("m") as answer:
            assert sum(1 for _ in answer.events()) == 202
        times.append(time.monotonic() - began)
    return statistics.median(times)


def _hears_of_loss(log: Stream, seconds: float) -> bool:
    """Whether a line comes in time that tells of lines that were dropped."""
    until = time.monotonic() + seconds
    return any(b"dropped" in line for _, line in log.lines() if line[:1] != b"x" or time.monotonic() > until)


def _history(proxy: ProxyUnderTest, name: str) -> int:
    """Return how many bytes are kept of a model that says no more."""
    size = 0
    with proxy.reading(f"/logs/stream/{name}?bytes={HISTORY}") as log:
        log._connection.sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _, line in log.lines():
                size += len(line) + 1
    return size


def _read_by(pid: int) -> int:
    """Return how many bytes a process has read in all: /proc/PID/io."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counters["rchar"])
