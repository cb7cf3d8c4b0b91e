"""The long mixed load: `python -m tests.soak SECONDS`.

Every half minute everybody pauses, all models are unloaded, and the proxy is looked at: what it holds then, it has
forgotten to give back.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.blackbox import ProxyUnderTest
from tests.soak.clients import ACTIONS, configuration
from tests.soak.procfs import Sample, cpu_share, sample, slope
from tests.soak.report import HEAD, Finding, at_most, exactly, told
from tests.soak.traffic import Traffic
from tests.support_processes import wait_until

WARM_UP = 2
"""Rounds that do not count: memory is still being found out."""
LEAST_TIME = 600.0
"""Seconds; a slope that is taken over less time says nothing."""
MOST_THREADS = 15
"""The reactor's own, one for each of four kinds of work, and those of Twisted's pool: it never shrinks, and has
another one only when so many things were to be done at once."""
LEAST_ROUNDS = 4


def main() -> None:
    """Run the load; print what was found; exit with 1 unless all is as it must be."""
    findings = soak(parser().parse_args())
    print("\n".join([HEAD, *(finding.line() for finding in findings)]))
    sys.exit(any(finding.holds is False for finding in findings))


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Runs a long mixed load.")
    parser.add_argument("seconds", type=float, nargs="?", default=300.0, help="default 300")
    parser.add_argument("--round", type=float, default=30.0, metavar="S", help="time between two looks; default 30")
    parser.add_argument("--clients", type=int, default=8, help="default 8")
    parser.add_argument("--pause", type=float, default=0.5, help="of a client between requests; default 0.5 s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, help="where to copy the proxy's log")
    return parser


def soak(options: argparse.Namespace) -> list[Finding]:
    """Run the load, and return what was found."""
    began = time.monotonic()
    with ProxyUnderTest(configuration()) as proxy:
        traffic = Traffic(proxy, ACTIONS, clients=options.clients, pause=options.pause, seed=options.seed)
        looks: list[Sample] = []
        while time.monotonic() - began < options.seconds:
            traffic.run(min(options.round, options.seconds / LEAST_ROUNDS))
            looks.append(_at_rest(proxy))
            print(_progress(began, looks[-1], traffic), flush=True)
        idle = cpu_share(proxy.pid, 5)
        traffic.end()
        starts = len(proxy.journal.events("start"))
        log = proxy.log()
        if options.log:
            options.log.write_text(log)
        seconds_to_exit = proxy.stop()
        survivors = len(proxy.survivors())
    signs = sum(log.count(sign) for sign in ("Unhandled", "Traceback"))
    return [
        told("duration, s", f"{time.monotonic() - began:,.0f}"),
        *_of_traffic(traffic, starts),
        *_of_process(looks[WARM_UP:] or looks),
        at_most("CPU at rest, of a core", idle, 0.01),
        exactly("«Unhandled» and tracebacks in the log", signs, 0),
        at_most("exit after SIGTERM", seconds_to_exit, 5, " s"),
        exactly("processes left behind", survivors, 0),
    ]


def _at_rest(proxy: ProxyUnderTest) -> Sample:
    """Have everything unloaded, and look at the proxy when it has settled."""
    answer = proxy.get("/unload")
    assert answer.status == 200, f"/unload: {answer.status} {answer.body!r}"
    wait_until(lambda: not proxy.running(), 40, "the end of all models")
    time.sleep(1)
    return sample(proxy.pid)


def _progress(began: float, look: Sample, traffic: Traffic) -> str:
    return (
        f"{time.monotonic() - began:7.0f} s  {sum(traffic.done.values()):6} requests  {look.memory_mb:6.1f} MB  "
        f"{look.files} files  {look.threads} threads  {len(traffic.unexplained)} unexplained"
    )


def _of_traffic(traffic: Traffic, starts: int) -> list[Finding]:
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(traffic.done.items()))
    return [
        told("done", counts),
        told("model processes started", f"{starts:,}"),
        exactly("unexplained answers", len(traffic.unexplained), 0),
        at_most("longest wait for an answer", traffic.longest, 30, " s"),
    ]


def _of_process(looks: list[Sample]) -> list[Finding]:
    first, last = looks[0], looks[-1]
    second_half = looks[len(looks) // 2 :]
    is_enough = len(second_half) >= LEAST_ROUNDS and last.at - first.at >= LEAST_TIME
    growth = slope(second_half) if len(second_half) > 1 else 0.0
    limit = "< 2 MB" if is_enough else "< 2 MB, over 10 minutes or more"
    memory = _course([look.memory_mb for look in looks], " MB")
    files, threads = ([getattr(look, what) for look in looks] for what in ("files", "threads"))
    return [
        told("memory at rest: first, most, last", memory),
        Finding("memory slope per 10 minutes, 2nd half", limit, f"{growth:.2f} MB", growth < 2 if is_enough else None),
        Finding("open files at rest: first, most, last", "flat", _course(files), _is_flat(files)),
        Finding(
            "threads at rest: first, most, last", f"≤ {MOST_THREADS}", _course(threads), max(threads) <= MOST_THREADS
        ),
        exactly("zombies", max(look.zombies for look in looks), 0),
    ]


def _is_flat(figures: Sequence[int]) -> bool:
    """Whether the second half has no more than the first."""
    half = (len(figures) + 1) // 2
    return max(figures[half:], default=0) <= max(figures[:half])


def _course(figures: list[float] | list[int], unit: str = "") -> str:
    return ", ".join(f"{figure:,.4g}{unit}" for figure in (figures[0], max(figures), figures[-1]))


if __name__ == "__main__":
    main()
