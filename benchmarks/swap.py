"""Measures what a swap costs beyond the models' own time: `python benchmarks/swap.py --help`.

Two models take turns, each under `traced`, which writes down when its process began, was healthy, was told to stop, and
was gone.  Of the time from a request (`GET /upstream/MODEL/health`, whose answer costs a model nothing) to its answer,
the overhead is what is left without

- the old model's own end, from SIGTERM to exit,
- the new model's own start, from exec to its first healthy answer,
- the answer itself, as long as a model takes when asked directly.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from peers import BUILD, CannotMeasureError, free_port, llama_swap_with
from run import prepare, progress

BAR_MS, AIM_MS = 30.0, 15.0
LOAD_DELAYS = (0.0, 0.5, 1.3, 5.0)
SWAPS = 10
MODELS = ("bench", "other")


@dataclass(frozen=True)
class Contender:
    """What kind of model is swapped."""

    title: str
    command: Sequence[str]
    """How to start it, all but the port."""


@dataclass(frozen=True)
class Swap:
    """When what happened in one swap, in ms, and how long a direct answer takes."""

    asked: float
    term: float
    exit: float
    exec: float
    ready: float
    answered: float
    answer: float

    @property
    def parts(self) -> dict[str, float]:
        """Return the parts of the swap, those of the proxy first, in ms."""
        asked_to_term, exit_to_exec = self.term - self.asked, self.exec - self.exit
        ready_to_answer = self.answered - self.ready - self.answer
        return {
            "to TERM": asked_to_term,
            "exit to exec": exit_to_exec,
            "ready to answer": ready_to_answer,
            "overhead": asked_to_term + exit_to_exec + ready_to_answer,
            "stopping": self.exit - self.term,
            "loading": self.ready - self.exec,
            "in all": self.answered - self.asked,
        }


def main() -> None:
    """Swap each contender's models in turns; print the table, and write all figures to a file."""
    parser = argparse.ArgumentParser(prog="swap.py", description="Measures what a swap costs.")
    parser.add_argument("--swaps", type=int, default=SWAPS, help=f"of each kind; default {SWAPS}")
    parser.add_argument("--no-llamacpp", action="store_true", help="only with the upstream written in C")
    parser.add_argument(
        "--realtime", action="store_true", help="push everybody else aside; for busy machines, needs root"
    )
    options = parser.parse_args()
    prepare(realtime=options.realtime)
    chosen = [upstream(delay) for delay in LOAD_DELAYS] + ([] if options.no_llamacpp else llamacpp())
    try:
        swaps = {contender.title: swap_models(contender, options.swaps) for contender in chosen}
    except CannotMeasureError as error:
        sys.exit(f"benchmarks: {error}")
    figures = {title: [swap.parts for swap in each] for title, each in swaps.items()}
    (BUILD / "swap.json").write_text(json.dumps(figures, indent=1))
    print(table(swaps))


def upstream(load_delay: float) -> Contender:
    """Return the C upstream, which listens after so many seconds."""
    return Contender(f"C upstream, load {load_delay:g} s", [str(BUILD / "upstream"), "--load-delay", str(load_delay)])


def llamacpp() -> list[Contender]:
    """Return llama.cpp with the demo's model, if they are here."""
    if find_spec("xllamacpp") is None:
        progress("llama.cpp is not installed (pip install xllamacpp): left out")
        return []
    from llama_swap.llamacpp.demo_files import cache_directory, fetch_model

    model = fetch_model(cache_directory(os.environ))
    return [Contender("llama.cpp, 135M", [sys.executable, "-m", "llama_swap.llamacpp.server", "-m", str(model)])]


def swap_models(contender: Contender, count: int) -> list[Swap]:
    """Return so many swaps between two models of one kind."""
    journal = BUILD / "journal.jsonl"
    journal.unlink(missing_ok=True)
    ports = {name: free_port() for name in MODELS}
    config = BUILD / "swap.yaml"
    config.write_text("models:\n" + "".join(_entry(name, ports[name], contender, journal) for name in MODELS))
    swaps = []
    with llama_swap_with(config) as peer:
        _ask(peer.port, f"/upstream/{MODELS[0]}/health")
        for number in range(1, count + 1):
            new, old = MODELS[number % 2], MODELS[1 - number % 2]
            asked, answered = _ask(peer.port, f"/upstream/{new}/health")
            direct = [_ask(ports[new], "/health") for _ in range(9)]
            answer = statistics.median(end - began for began, end in direct)
            swaps.append(Swap(asked, *_journaled(journal, new, old), answered, answer))
            parts = swaps[-1].parts
            progress(f"{contender.title:22} {number}/{count}  {parts['overhead']:6.1f} of {parts['in all']:,.1f} ms")
    return swaps


def table(swaps: dict[str, list[Swap]]) -> str:
    """Return the medians as a Markdown table."""
    names = list(next(iter(swaps.values()))[0].parts)
    lines = [
        f"| swap, ms | {' | '.join(names)} | worst overhead | bar | aim | |",
        f"|---|{'---:|' * len(names)}---:|---:|---:|---|",
    ]
    for title, each in swaps.items():
        medians = {name: statistics.median(swap.parts[name] for swap in each) for name in names}
        worst, overhead = max(swap.parts["overhead"] for swap in each), medians["overhead"]
        verdict = "aim" if overhead <= AIM_MS else "ok" if overhead <= BAR_MS else "**missed**"
        cells = " | ".join(f"{value:,.1f}" for value in medians.values())
        lines.append(f"| {title} | {cells} | {worst:.1f} | ≤ {BAR_MS:g} | ≤ {AIM_MS:g} | {verdict} |")
    return "\n".join(lines)


def _entry(name: str, port: int, contender: Contender, journal: Path) -> str:
    traced = [str(BUILD / "traced"), "--journal", str(journal), "--name", name, "--port", str(port), "--"]
    command = json.dumps(" ".join([*traced, *contender.command, "--port", str(port)]))
    return f"  {name}:\n    cmd: {command}\n    proxy: http://127.0.0.1:{port}\n"


def _ask(port: int, path: str) -> tuple[float, float]:
    """GET a path; return when it was asked and when it was answered, in ms.

    @raise CannotMeasureError: it was not served.
    """
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.connect()
        began = time.monotonic_ns()
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read()
        ended = time.monotonic_ns()
    if answer.status != 200:
        raise CannotMeasureError(f"{path} on port {port} was answered {answer.status}: {text[:300]!r}")
    return began / 1e6, ended / 1e6


def _journaled(journal: Path, new: str, old: str) -> tuple[float, float, float, float]:
    """Return when the old model was told to stop and was gone, and when the new one began and was ready, in ms."""
    last: dict[tuple[str, str], float] = {}
    for line in journal.read_text().splitlines():
        entry = json.loads(line)
        last[entry["name"], entry["event"]] = entry["ns"] / 1e6
    return last[old, "term"], last[old, "exit"], last[new, "exec"], last[new, "ready"]


if __name__ == "__main__":
    main()
