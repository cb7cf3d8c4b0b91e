"""What tests with real processes look at: the fake models' journal, `/proc`, free ports, the wall clock."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Event = dict[str, Any]
T = TypeVar("T")


def wait_until(what: Callable[[], T | None], timeout: float, hint: str = "") -> T:
    """Return the first true answer of `what`; AssertionError with the hint after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {hint or what}")
        time.sleep(0.005)
    return answer


_given: set[int] = set()
_taken = (Path(tempfile.gettempdir()) / f"llama-swap-test-ports-{os.getuid()}").open("ab")
"""Each byte stands for a port: whoever runs tests locks those of the ports it uses, as long as it runs."""


def free_port() -> int:
    """Return a port that nobody listens on, another one each time.

    It lies below the range that the kernel takes for outgoing connections: none of those can then occupy it
    before its server binds it, or be connected to itself.
    """
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first_outgoing // 2, first_outgoing)
        if port in _given or not _reserve(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def _reserve(port: int) -> bool:
    """Whether no other run of tests uses the port, which is now ours."""
    try:
        fcntl.lockf(_taken, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


class Journal:
    """The events that all fake models of one test wrote, in their order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def events(self, ev: str | None = None, model: str | None = None) -> list[Event]:
        """Return the events of one kind, of one model, or all."""
        whole_lines = self.path.read_text().rpartition("\n")[0].splitlines()
        return [
            event
            for event in map(json.loads, whole_lines)
            if ev in (None, event["ev"]) and model in (None, event["model"])
        ]

    def wait_for(self, ev: str, model: str | None = None, *, count: int = 1, timeout: float = 5) -> Event:
        """Return the `count`th such event, once it is there."""
        hint = f"{count} × {ev} of {model or 'any model'} in the journal"
        return wait_until(lambda: self.events(ev, model)[count - 1 : count], timeout, hint)[0]

    def pids(self) -> set[int]:
        """Return all processes that ever started."""
        return {event["pid"] for event in self.events("start")}

    def most_alive(self, *models: str) -> int:
        """Return how many processes of these models (default: all) were alive at once, at most."""
        alive: set[int] = set()
        most = 0
        for event in self.events():
            if models and event["model"] not in models:
                continue
            if event["ev"] == "start":
                alive.add(event["pid"])
            elif event["ev"] == "exit":
                alive.discard(event["pid"])
            most = max(most, len(alive))
        return most


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; one that is dead but not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def environment(pid: int) -> dict[str, str]:
    """Return the environment that the process was started with; empty when it is gone."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


def carrying(name: str, value: str) -> Iterator[int]:
    """Return the living processes that have the variable in their environment, however they are related."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and environment(int(entry.name)).get(name) == value and is_alive(int(entry.name)):
            yield int(entry.name)


def command_line(pid: int) -> str:
    """Return the command line for a message."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"


def open_files(pid: int) -> int:
    """Return how many file descriptors the process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def own_files() -> dict[str, str]:
    """Return this process's descriptors, and what they lead to."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found[descriptor.name] = str(descriptor.readlink())
        except OSError:  # that of the directory itself
            continue
    return found


def resident_memory(pid: int) -> int:
    """Return how many bytes of memory the process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return how much time the process has spent on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
