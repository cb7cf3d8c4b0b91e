"""Measures the proxy beside its peers: `python benchmarks/run.py --help`.

No machine is quiet, and figures move from run to run.  So all peers run at the same time, are measured in turns, round
after round, and what counts is how their medians compare.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import loads
from measures import MEASURES, ONCE, TRIAL, Measure, Subject
from peers import BUILD, ROOT, CannotMeasureError, factories, upstream_alone
from rows import table

Samples = dict[str, dict[str, list[float]]]
"""key → peer → a figure of each round"""

ROUNDS, SECONDS = 5, 3.0
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0
WARM_UP = TRIAL
"""Seconds of requests that are not counted: LiteLLM loads most of itself with the first ones."""


def main() -> None:
    """Measure what the command line asks for; print the table, and write all figures to a file."""
    options = parse_options()
    prepare(realtime=options.realtime)
    samples: Samples = defaultdict(lambda: defaultdict(list))
    try:
        with ExitStack() as running:
            subjects = start_peers(running, options)
            names = [subject.peer.name for subject in subjects]
            for number in range(options.rounds):
                for measure in options.measures:
                    if number == 0 or measure not in ONCE:
                        title = f"{number + 1}/{options.rounds}  {measure:12}"
                        measure_all(title, MEASURES[measure], subjects, options.seconds, samples)
                subjects.append(subjects.pop(0))  # nobody is always first
    except CannotMeasureError as error:
        sys.exit(f"benchmarks: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks: stopped")
    medians = {key: {peer: statistics.median(all_) for peer, all_ in row.items()} for key, row in samples.items()}
    conditions = {
        "load": os.getloadavg(),
        "realtime": options.realtime,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    options.json.write_text(json.dumps({**conditions, "medians": medians, "samples": samples}, indent=1))
    print(table(medians, names))


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measures the proxy beside its peers.")
    option = parser.add_argument
    option("--only", metavar="MEASURE,…", help=f"some of: {', '.join(MEASURES)}; a prefix will do")
    option("--peers", metavar="PEER,…", help="some of: direct, nginx, ours, litellm")
    option("--compare", metavar="DIR", type=Path, action="append", default=[], help="another checkout, as a column")
    option("--rounds", type=int, help=f"default {ROUNDS}")
    option("--seconds", type=float, help=f"how long each load lasts, about; default {SECONDS:g}")
    option("--quick", action="store_true", help="one short round, without LiteLLM: a minute")
    option("--realtime", action="store_true", help="push everybody else aside; for busy machines, needs root")
    option("--json", type=Path, default=BUILD / "results.json", help="where all figures go")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    words = options.only.split(",") if options.only else [""]
    for word in words:
        if not any(name.startswith(word) for name in MEASURES):
            parser.error(f"no measure begins with {word!r}; there are {', '.join(MEASURES)}")
    prefixes = tuple(word for word in words if word not in MEASURES)  # streams-1 does not mean streams-16
    options.measures = [name for name in MEASURES if name in words or name.startswith(prefixes)]
    return options


def prepare(*, realtime: bool = False) -> None:
    """Compile what is out of date, see to the priority, and end whatever was started when told to stop."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("benchmarks: stopped"))
    build_programs()
    if realtime:
        go_first()
        return
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        progress(f"the machine is busy (load {load:.1f} on {cores} cores): delays will be far off; see --realtime")


def build_programs() -> None:
    """Compile the programs written in C."""
    BUILD.mkdir(parents=True, exist_ok=True)
    programs = [f"build/bench/{name}" for name in ("upstream", "streams", "bodies", "traced")]
    command = ["make", "--silent", "-C", str(ROOT), "-f", "benchmarks/bench.mk", *programs]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit("benchmarks: the C programs cannot be built; is a C compiler installed (Debian: gcc libc6-dev)?")


def go_first() -> None:
    """Let this process, and all that it starts, run before everybody else's."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        sys.exit("benchmarks: --realtime needs root, or CAP_SYS_NICE")


def start_peers(running: ExitStack, options: argparse.Namespace) -> list[Subject]:
    """Start every peer that is wanted and there, for the whole of the run."""
    known = factories(running.enter_context(upstream_alone()), options.compare)
    if options.quick:
        known.pop("litellm", None)
    wanted = options.peers.split(",") if options.peers else list(known)
    subjects = []
    for name in wanted:
        if name not in known:
            raise CannotMeasureError(f"there is no peer {name!r} here; there are {', '.join(known)}")
        progress(f"starting {name}")
        peer = running.enter_context(known[name]())
        loads.requests(peer, 16, WARM_UP)
        subjects.append(Subject(peer, known[name]))
    return subjects


def measure_all(title: str, measure: Measure, subjects: list[Subject], seconds: float, samples: Samples) -> None:
    """Take one measure of every peer."""
    for subject in subjects:
        peer = subject.peer.name
        began = time.monotonic()
        figures = measure(subject, seconds)
        for key, value in figures.items():
            samples[key][peer].append(value)
        said = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
        if figures:
            progress(f"{title} {peer:8} {said}  ({time.monotonic() - began:.1f} s)")


def progress(text: str) -> None:
    """Tell those who wait."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
