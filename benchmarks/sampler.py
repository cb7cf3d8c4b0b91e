"""Runs a Python program and writes down where its CPU time goes: `sampler.py OUT -m MODULE ARGUMENTS…`.

By CPU time, not by waiting, the kernel interrupts the program again and again, and the stack is counted.  That costs a
few percent and favours nobody, where a tracing profiler makes small functions look dear.  What a function written in C
uses is counted for the line that called it.

OUT gets one JSON object: {"samples": [[count, [[function, file, line], … innermost first]], …]}.  SIGUSR1 empties the
counts, so that the start is left out.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.001
"""Seconds of CPU time between samples, if the kernel's clock ticks that often; 0.004 is usual."""

Site = tuple[str, str, int]
stacks: Counter[tuple[Site, ...]] = Counter()


def sample(_: int, frame: FrameType | None) -> None:
    """Count the stack."""
    stack = []
    while frame is not None:
        code = frame.f_code
        stack.append((code.co_qualname, code.co_filename, frame.f_lineno or code.co_firstlineno))
        frame = frame.f_back
    stacks[tuple(stack)] += 1


def main() -> None:
    """Run the program that the rest of the command line names."""
    out, _, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: stacks.clear())
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(out).write_text(json.dumps({"samples": [[count, stack] for stack, count in stacks.items()]}))


if __name__ == "__main__":
    main()
