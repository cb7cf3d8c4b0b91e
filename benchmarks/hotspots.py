"""Shows where the proxy's CPU time goes: `python benchmarks/hotspots.py --help`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import loads
import procfs
from peers import BUILD, CannotMeasureError, Peer, llama_swap
from run import prepare, progress

TRUNK = 0.55
"""What holds more of the time than this is the way from the reactor down to the work, and tells nothing."""
WARM_UP = 5.0
"""Seconds; only then the proxy uses connections to its upstream again."""
SAMPLER = Path(__file__).with_name("sampler.py")

Stack = list[tuple[str, str, int]]
"""(function, file, line), innermost first"""
Function = tuple[str, str]
"""(name, file)"""
Load = Callable[[Peer, float], float]
"""Puts load on the peer for so many seconds, and returns how many requests or events went through."""


def main() -> None:
    """Put each kind of load on a sampled proxy, and print the dearest functions."""
    parser = argparse.ArgumentParser(prog="hotspots.py", description="Shows where the proxy's CPU time goes.")
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"some of: {', '.join(LOADS)}; default: all")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each load lasts, about")
    parser.add_argument("--top", type=int, default=25, help="how many functions are shown")
    options = parser.parse_args()
    unknown = set(options.loads) - set(LOADS)
    if unknown:
        parser.error(f"there is no load {', '.join(unknown)}")
    prepare()
    try:
        for name in options.loads or LOADS:
            print(profile(name, options.seconds, options.top), flush=True)
    except CannotMeasureError as error:
        sys.exit(f"benchmarks: {error}")


def profile(name: str, seconds: float, top: int) -> str:
    """Put a load on a fresh proxy; return a Markdown table of what it did."""
    unit, load = LOADS[name]
    out = BUILD / f"samples-{name}.json"
    progress(f"sampling {name}")
    with llama_swap(program=(str(SAMPLER), str(out), "-m", "llama_swap.cli")) as peer:
        load(peer, WARM_UP)
        before = (procfs.cpu_seconds(peer.proxy_pid), *procfs.system_share(peer.proxy_pid))
        os.kill(peer.proxy_pid, signal.SIGUSR1)
        count = load(peer, seconds)
        after = (procfs.cpu_seconds(peer.proxy_pid), *procfs.system_share(peer.proxy_pid))
    total, own, system = (late - early for early, late in zip(before, after, strict=True))
    samples = [(count, stack) for count, stack in json.loads(out.read_text())["samples"]]
    cost = total / count * 1e6
    in_kernel = 100 * system / max(own + system, 0.01)
    hits = sum(each for each, _ in samples)
    heading = f"## {name}: {cost:,.1f} µs of CPU per {unit}, {in_kernel:.0f} % of it in the kernel ({hits} samples)"
    alone, within = tables(samples, cost, top)
    return f"{heading}\n\n{packages(samples)}\n\n{alone}\n\n{within}\n"


def packages(samples: list[tuple[int, Stack]]) -> str:
    """Return the shares of the packages in whose functions the time was spent; system calls count for their callers."""
    spent: Counter[str] = Counter()
    for hits, stack in samples:
        spent["/".join(_short(stack[0][1]).split("/")[:2])] += hits
    shares = (f"{package} {100 * hits / spent.total():.0f} %" for package, hits in spent.most_common(8))
    return ", ".join(shares)


def tables(samples: list[tuple[int, Stack]], cost: float, top: int) -> tuple[str, str]:
    """Return the functions that are dearest alone, and those that are dearest with all that they call."""
    alone: Counter[Function] = Counter()
    within: Counter[Function] = Counter()
    lines: dict[Function, Counter[int]] = defaultdict(Counter)
    for hits, stack in samples:
        function, file, line = stack[0]
        alone[function, file] += hits
        lines[function, file][line] += hits
        for each in {(function, file) for function, file, _ in stack}:
            within[each] += hits
    unit = cost / max(1, sum(alone.values()))

    def table(title: str, ranking: Counter[Function]) -> str:
        rows = [f"| {title} | µs alone | µs with callees | file | dearest lines |", "|---|---:|---:|---|---|"]
        for each, _ in ranking.most_common(top):
            dearest = ", ".join(str(line) for line, _ in lines[each].most_common(3))
            function, file = each
            figures = f"{alone[each] * unit:,.1f} | {within[each] * unit:,.1f}"
            rows.append(f"| {function} | {figures} | {_short(file)} | {dearest} |")
        return "\n".join(rows)

    branches = Counter({each: hits for each, hits in within.items() if hits < TRUNK * sum(alone.values())})
    return table("dearest alone", alone), table("dearest with callees", branches)


def requests(peer: Peer, seconds: float) -> float:
    """Put the load of sixteen clients with small requests on the peer."""
    return float(loads.requests(peer, 16, seconds)["requests"])


def streams(peer: Peer, seconds: float) -> float:
    """Put the load of 64 streams of 100 events a second on the peer."""
    return float(loads.streams(peer, 64, rate=100, events=round(100 * seconds))["events"])


def starts(peer: Peer, seconds: float) -> float:
    """Start 256 streams at once, of one event each, again and again."""
    times = round(8 * seconds)
    for _ in range(times):
        loads.streams(peer, 256, rate=20, events=1, skip=0)
    return 256 * times


def unthrottled(peer: Peer, seconds: float) -> float:
    """Put the load of 16 streams that come as fast as they can on the peer."""
    return float(loads.streams(peer, 16, rate=0, events=round(5_000 * seconds))["events"])


def bodies(peer: Peer, seconds: float) -> float:
    """Put the load of bodies of 20 MB on the peer."""
    return float(len(loads.bodies(peer, loads.large_body(), times=round(5 * seconds))["body_ms"]))


LOADS: dict[str, tuple[str, Load]] = {
    "requests": ("request", requests),
    "streams": ("event", streams),
    "starts": ("stream", starts),
    "unthrottled": ("event", unthrottled),
    "bodies": ("body", bodies),
}


def _short(file: str) -> str:
    """Return a path from its package on."""
    _, found, rest = file.rpartition("/site-packages/")
    return rest if found else "/".join(Path(file).parts[-3:])


if __name__ == "__main__":
    main()
