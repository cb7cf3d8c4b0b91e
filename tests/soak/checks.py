"""Runs the checks that take too long for the suite: `python -m tests.soak.checks [--list] [NAME …]`."""

from __future__ import annotations

import argparse
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Mapping

from tests.soak import delivery, lifecycle, logs, streams
from tests.soak.report import HEAD, Finding

Check = Callable[[], list[Finding]]


def all_checks() -> Mapping[str, Check]:
    """Return every check by its name: the public functions of these modules that return findings."""
    found: dict[str, Check] = {}
    for module in (lifecycle, delivery, streams, logs):
        for name, value in vars(module).items():
            is_own = inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
            if is_own and not inspect.signature(value).parameters:
                found[name.replace("_", "-")] = value
    return found


def main() -> None:
    """Run the checks that the command line names, or all; exit with 1 unless all hold."""
    checks = all_checks()
    parser = argparse.ArgumentParser(prog="python -m tests.soak.checks", description="Runs checks that take minutes.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="name them, and do nothing else")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in checks]:
        parser.error(f"no check {unknown[0]!r}; there are: {', '.join(checks)}")
    if options.list:
        for name, check in checks.items():
            print(f"{name:22} {inspect.getdoc(check)}")
        return
    print(HEAD, flush=True)
    held = [run(name, checks[name]) for name in options.names or checks]
    sys.exit(not all(held))


def run(name: str, check: Check) -> bool:
    """Run one check, print its lines, and return whether it holds."""
    began = time.monotonic()
    try:
        findings = check()
    except Exception as error:  # noqa: BLE001 -- an assertion on the way, or a proxy that did not end as it should
        traceback.print_exc()
        findings = [Finding(name, "", f"{type(error).__name__}: {str(error).splitlines()[0]}", holds=False)]
    for finding in findings:
        print(finding.line(), flush=True)
    print(f"  {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return all(finding.holds is not False for finding in findings)


if __name__ == "__main__":
    main()
