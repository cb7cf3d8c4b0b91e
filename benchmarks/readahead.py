"""Measures what reading ahead saves in a swap: `python benchmarks/readahead.py --help`.

The old model takes a second to leave; the new one reads its file, of which nothing is in memory, before it listens.  In
turns, a proxy that reads the file ahead and one that does not are asked for the new model.  Real disks are slower than
those of virtual machines, whose host may have the file in its memory: so the time for reading is shown beside.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from peers import BUILD, CannotMeasureError, free_port, llama_swap_with
from run import prepare, progress

SIZE_MB, ROUNDS, LEAVE = 600, 7, 1.0
MODES = {"without": False, "with": True}
OLD = "trap 'sleep {leave}; exit 0' TERM; {upstream} --port {port} & wait"
NEW = "cat {file} > /dev/null; exec {upstream} --port {port}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="readahead.py", description="Measures what reading ahead saves.")
    parser.add_argument("--size", type=int, default=SIZE_MB, metavar="MB", help=f"of the file; default {SIZE_MB}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--realtime", action="store_true", help="push everybody else aside; needs root")
    options = parser.parse_args()
    prepare(realtime=options.realtime)
    file = BUILD / "readahead.gguf"
    try:
        write(file, options.size)
        swaps, reading = measure(file, options.rounds)
    except CannotMeasureError as error:
        sys.exit(f"benchmarks: {error}")
    finally:
        file.unlink(missing_ok=True)
    print(table(swaps, reading, options.size))


def write(file: Path, size_mb: int) -> None:
    """Make a file that looks like a model, and that no disk can store in less space."""
    with file.open("wb") as out:
        out.write(b"GGUF")
        for _ in range(size_mb):
            out.write(os.urandom(1 << 20))
        out.flush()
        os.fsync(out.fileno())


def measure(file: Path, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Return the times of swaps in each mode, and of reading the file from disk, in s."""
    swaps: dict[str, list[float]] = {mode: [] for mode in MODES}
    reading = []
    with ExitStack() as running:
        ports = {mode: running.enter_context(llama_swap_with(_config(mode, file))).port for mode in MODES}
        for number in range(1, rounds + 1):
            for mode, port in ports.items():
                _load(port, "old")
                forget(file)
                swaps[mode].append(_load(port, "new"))
                progress(f"{mode:8} {number}/{rounds}  {swaps[mode][-1]:.2f} s")
            forget(file)
            reading.append(_read(file))
    return swaps, reading


def forget(file: Path) -> None:
    """Have the kernel drop what it keeps of a file."""
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def table(swaps: dict[str, list[float]], reading: Sequence[float], size_mb: int) -> str:
    """Return the medians as a Markdown table."""
    lines = ["| swap, s | median | best | worst |", "|---|---:|---:|---:|"]
    titles = {mode: f"{mode} reading ahead" for mode in swaps}
    rows = [(titles[mode], times) for mode, times in swaps.items()]
    for title, times in [*rows, (f"reading {size_mb} MB from disk alone", reading)]:
        lines.append(f"| {title} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |")
    return "\n".join(lines)


def _config(mode: str, file: Path) -> Path:
    upstream, lines = BUILD / "upstream", [f"readAhead: {str(MODES[mode]).lower()}", "models:"]
    for name, script in (("old", OLD), ("new", NEW)):
        port = free_port()
        command = script.format(leave=LEAVE, upstream=upstream, port=port, file=file)
        lines += [f"  {name}:", f'    cmd: sh -c "{command}"', f"    proxy: http://127.0.0.1:{port}"]
    config = BUILD / f"readahead-{mode}.yaml"
    config.write_text("\n".join(lines))
    return config


def _load(port: int, model: str) -> float:
    """Have a model loaded; return how long that took, in s.

    @raise CannotMeasureError: it was not.
    """
    began = time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("GET", f"/upstream/{model}/health")
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200:
        raise CannotMeasureError(f"{model} was not loaded: {answer.status} {text[:300]!r}")
    return time.monotonic() - began


def _read(file: Path) -> float:
    began = time.monotonic()
    with file.open("rb", buffering=0) as opened:
        while opened.read(1 << 17):
            pass
    return time.monotonic() - began


if __name__ == "__main__":
    main()
