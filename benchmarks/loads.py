"""The load generators, each a program that prints its result as JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers import BUILD, CannotMeasureError, Peer

SCRIPT = Path(__file__).with_name("post.lua")
PATIENCE = 300


def requests(peer: Peer, connections: int, seconds: float) -> dict[str, Any]:
    """Send small chat requests over so many connections: {requests, seconds, p50_us, p99_us}."""
    threads = min(connections, 2)
    duration = f"{max(1, round(seconds))}s"
    arguments = ["-t", str(threads), "-c", str(connections), "-d", duration, "--timeout", "60s", "-s", str(SCRIPT)]
    result = _run("wrk", *arguments, f"http://127.0.0.1:{peer.port}")
    if result["failed"]:
        raise CannotMeasureError(f"{peer.name}: {result['failed']} of {result['requests']} requests failed")
    return result


def streams(peer: Peer, count: int, *, rate: int, events: int, batch: int = 1, skip: int = 5) -> dict[str, Any]:
    """Read so many streams side by side; see streams.c for what comes back.  Rate 0: unthrottled."""
    knobs = {"port": peer.port, "streams": count, "rate": rate, "events": events, "batch": batch, "skip": skip}
    return _run(str(BUILD / "streams"), *_options(knobs))


def bodies(peer: Peer, body: Path, times: int) -> dict[str, Any]:
    """Post a large body again and again, and feel the pulse: {body_ms: […], longest_pulse_ms}."""
    knobs = {"port": peer.port, "body": body, "times": times, "pulse-path": peer.pulse_path}
    return _run(str(BUILD / "bodies"), *_options(knobs))


def large_body(extra: str = "") -> Path:
    """Return a file with a chat request of 20 MB: a long conversation about code, with quotes and line ends.

    `extra` ends the first message: one character outside ASCII changes how a text is kept in memory.
    """
    path = BUILD / f"body{'-extra' if extra else ''}.json"
    line = 'for name, value in sorted(fields.items()):\n    print(f"{name}: {value}")  # one a line, in order\n\n'
    messages = [{"role": "user", "content": line * 40}] * (20_000_000 // (len(json.dumps(line)) * 40))
    messages[0] = {"role": "user", "content": line * 40 + extra}
    path.write_text(json.dumps({"model": "bench", "messages": messages}, ensure_ascii=False), encoding="utf-8")
    return path


def _options(knobs: Mapping[str, object]) -> list[str]:
    return [word for name, value in knobs.items() for word in (f"--{name}", str(value))]


def _run(*command: str) -> dict[str, Any]:
    """Run a generator and return what it printed last.

    @raise CannotMeasureError: it says that something is wrong.
    """
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if ended.returncode != 0:
        raise CannotMeasureError(f"{' '.join(command)}: {ended.stderr.strip() or ended.stdout.strip()}")
    result: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return result
