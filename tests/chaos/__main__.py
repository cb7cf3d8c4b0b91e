"""Lives at random: `python -m tests.chaos [--first SEED] [--lives N] [--steps N] [--tell]`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from typing import Any

from twisted.logger import formatEvent, globalLogBeginner, globalLogPublisher

from tests.chaos.world import World


def main() -> None:
    """Live; print what became of it; exit with 1 unless all went well."""
    options = parser().parse_args()
    logged: list[dict[str, Any]] = []
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    globalLogPublisher.addObserver(logged.append)
    outcomes, steps, failed = Counter[str](), 0, 0
    for seed in range(options.first, options.first + options.lives):
        world = World(seed, options.wild)
        if options.tell:
            globalLogPublisher.addObserver(tell := lambda event, world=world: world.tell(f"  | {formatEvent(event)}"))
        try:
            world.live(options.steps)
            assert not (wrong := [event for event in logged if "log_failure" in event]), f"logged: {wrong[0]}"
        except Exception:  # noqa: BLE001 -- the next life may tell more
            failed += 1
            print(
                f"--- seed {seed}, step {world.steps}", *world.story[-options.tell :], traceback.format_exc(), sep="\n"
            )
        if options.tell:
            globalLogPublisher.removeObserver(tell)
        logged.clear()
        outcomes, steps = outcomes + world.outcomes, steps + world.steps
    print(f"{options.lives} lives, {steps} steps, {failed} failed; requests: {dict(outcomes.most_common())}")
    sys.exit(failed > 0)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Plays random lives of a router.")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first life; default 0")
    parser.add_argument("--lives", type=int, default=100, help="default 100")
    parser.add_argument("--steps", type=int, default=120, help="of each life; default 120")
    parser.add_argument(
        "--wild", type=float, default=1.0, help="how much goes wrong, and is changed; default 1; 0: nothing"
    )
    parser.add_argument("--tell", type=int, default=0, metavar="LINES", help="of the story of each life that fails")
    return parser


if __name__ == "__main__":
    main()
