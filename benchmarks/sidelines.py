"""Shows what else the proxy does while streams run, and how late their events are then: `sidelines.py --help`."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import loads
from peers import BUILD, CHAT, CannotMeasureError, Peer, llama_swap_with, upstream_alone
from run import prepare, progress

CROWD = 1000
"""Models of a peer, and of the configuration that is reloaded."""
FIRST_PORT = 20_000
"""Of a thousand: below those that the kernel gives to connections, one of which might have it when a model starts."""
FOLLOWERS, FOLLOWED = 20, ("/api/events", "/logs/streamSSE", "/logs/stream")
PRINT = "while :; do yes llama_model_loader: one of very many lines | head -c 1000000; sleep 0.1; done"
STREAMS, RATE, SETTLING = 16, 100, 25
Step = Callable[[Peer, Path], object]
"""Does something to the proxy once, or for a while."""


@dataclass(frozen=True)
class Sideline:
    """What goes on beside the streams."""

    title: str
    step: Step
    pause: float = 0.1
    """Seconds from the end of one step to the next."""


def main() -> None:
    """Measure each sideline beside streams alone, in turns, and print a table of medians."""
    parser = argparse.ArgumentParser(prog="sidelines.py", description="Shows how late events of streams are meanwhile.")
    parser.add_argument("sidelines", nargs="*", metavar="SIDELINE", help=f"some of: {', '.join(SIDELINES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5, help="how long each measurement takes, about")
    options = parser.parse_args()
    if unknown := set(options.sidelines) - set(SIDELINES):
        parser.error(f"there is no sideline {', '.join(unknown)}")
    prepare()
    print("| beside 16 streams of 100 events/s, ms | p99 alone | p99 | longest delay alone | longest delay |")
    print("|---|---:|---:|---:|---:|")
    try:
        for name in options.sidelines or SIDELINES:
            print(row(SIDELINES[name], options.rounds, options.seconds), flush=True)
    except CannotMeasureError as error:
        sys.exit(f"benchmarks: {error}")


def row(sideline: Sideline, rounds: int, seconds: float) -> str:
    """Return the row of one sideline, measured with a fresh proxy."""
    progress(f"sideline: {sideline.title}")
    alone, beside = [], []
    with ExitStack() as running:
        far = running.enter_context(upstream_alone())
        config, store = BUILD / "sidelines.yaml", BUILD / "sidelines.db"
        store.unlink(missing_ok=True)
        config.write_text(configuration(far, store))
        peer = running.enter_context(llama_swap_with(config))
        ask(peer, "bench")
        for number in range(CROWD):
            ask(peer, f"far-{number}")  # so that all of them have metrics
        for _ in range(rounds):
            alone.append(delays(peer, seconds))
            with again_and_again(sideline, peer, config):
                beside.append(delays(peer, seconds))
    (p99, most), (p99_then, most_then) = (
        [statistics.median(figures) for figures in zip(*rounds_, strict=True)] for rounds_ in (alone, beside)
    )
    return f"| {sideline.title} | {p99:.1f} | {p99_then:.1f} | {most:.1f} | {most_then:.1f} |"


def delays(peer: Peer, seconds: float) -> tuple[float, float]:
    """Read streams; return by how many milliseconds their events came late: the 99th percentile, and the most."""
    result = loads.streams(peer, STREAMS, rate=RATE, events=SETTLING + round(RATE * seconds), skip=SETTLING)
    return result["delay_us"]["p99"] / 1e3, result["delay_us"]["max"] / 1e3


@contextmanager
def again_and_again(sideline: Sideline, peer: Peer, config: Path) -> Iterator[None]:
    """Repeat the step of a sideline in a thread."""
    enough, failed = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            while not enough.wait(sideline.pause):
                sideline.step(peer, config)
        except Exception as error:  # noqa: BLE001 -- raised below, in the main thread
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
    if failed:
        raise CannotMeasureError(f"{sideline.title}: {failed[0]!r}")


def ask(peer: Peer, model: str) -> None:
    """Send a small chat request."""
    body = json.dumps({"model": model, "messages": []}).encode()
    fetch(peer, "POST", CHAT, body)


def fetch(peer: Peer, method: str, path: str, body: bytes | None = None) -> None:
    """Send a request, and read the answer, which must be 200."""
    with closing(http.client.HTTPConnection("127.0.0.1", peer.port, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise CannotMeasureError(f"{method} {path} was answered {answer.status}")


def get(path: str) -> Step:
    """Return a step that asks for `path`."""
    return lambda peer, _: fetch(peer, "GET", path)


def follow_logs(peer: Peer, _: Path) -> None:
    """Load a model that prints 10 MB a second, and let pages follow what it prints, for a second."""
    ask(peer, "printing")
    followers = []
    for number in range(FOLLOWERS):
        follower = socket.create_connection(("127.0.0.1", peer.port))
        follower.sendall(f"GET {FOLLOWED[number % len(FOLLOWED)]} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        followers.append(follower)
        threading.Thread(target=read_all, args=[follower]).start()
    time.sleep(1)
    for follower in followers:
        follower.shutdown(socket.SHUT_RDWR)


def read_all(connection: socket.socket) -> None:
    """Read a connection until its end."""
    with connection, suppress(ConnectionResetError):
        while connection.recv(1 << 18):
            pass


def swap(peer: Peer, _: Path) -> None:
    """Load two models that take turns."""
    ask(peer, "one")
    ask(peer, "two")


def reload(peer: Peer, config: Path) -> None:
    """Change the commands of all models of the crowd, and have the configuration read again."""
    before = config.read_text()
    old, new = ("delay 1", "delay 2") if "delay 1" in before else ("delay 2", "delay 1")
    config.write_text(before.replace(old, new))
    os.kill(peer.proxy_pid, signal.SIGHUP)


def requests(peer: Peer, _: Path) -> None:
    """Send small requests, as many as eight clients can."""
    loads.requests(peer, 8, 1)


def large_body(peer: Peer, _: Path) -> None:
    """Send a prompt of 20 MB."""
    fetch(peer, "POST", CHAT, loads.large_body().read_bytes())


SIDELINES = {
    "metrics": Sideline(f"/metrics, {CROWD:,} models", get("/metrics")),
    "models": Sideline(f"/v1/models, {2 * CROWD:,} models", get("/v1/models")),
    "activity": Sideline("/api/metrics/activity", get("/api/metrics/activity?limit=999")),
    "logs": Sideline(f"a model prints 10 MB/s, {FOLLOWERS} pages follow", follow_logs, 0.0),
    "swap": Sideline("two other models, swapped again and again", swap, 0.0),
    "reload": Sideline(f"a configuration of {CROWD:,} models, all changed, reloaded", reload, 1.0),
    "requests": Sideline("small requests of eight clients, activity on disk", requests, 0.0),
    "body": Sideline("prompts of 20 MB", large_body),
}


def configuration(far: int, store: Path) -> str:
    """Return a configuration with all that is needed; the peer of many models is the C upstream on the port `far`."""
    program = BUILD / "upstream"
    commands = dict.fromkeys(("bench", "one", "two"), f"{program} --port ${{PORT}}")
    commands["printing"] = f"sh -c '{PRINT} & exec {program} --port ${{PORT}}'"
    commands |= {f"idle-{number}": f"{program} --port ${{PORT}} --load-delay 1" for number in range(CROWD)}
    models = {
        name: {"cmd": command, "proxy": "http://127.0.0.1:${PORT}", "concurrencyLimit": 4096}
        for name, command in commands.items()
    }
    return json.dumps(  # which is YAML, too
        {
            "startPort": FIRST_PORT,
            "logToStdout": "none",
            "store": {"path": str(store)},
            "groups": {"streams": {"swap": False, "exclusive": False, "persistent": True, "members": ["bench"]}},
            "peers": {"far": {"proxy": f"http://127.0.0.1:{far}", "models": [f"far-{n}" for n in range(CROWD)]}},
            "models": models,
        },
        indent=0,
    )


if __name__ == "__main__":
    main()
