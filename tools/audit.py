"""Ask PyPI for known vulnerabilities of all that an installation takes in: `python audit.py '.[nvidia]'`.

pip says what it would install; of each release PyPI is asked. pip-audit reads the same lists, but where only a part of
PyPI can be reached, such as a mirror that knows projects and no single releases, it can tell nothing at all. The list
of a project is that of its newest release, so it will do where that is what would be installed. Where neither is to be
had, nothing is known, and that counts as a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

PYPI = "https://pypi.org/pypi"


class NotKnown(Exception):
    """PyPI does not say whether a release is vulnerable; the text says why."""


def main() -> None:
    """Exit with 1 unless everything is known to be free of known vulnerabilities."""
    sys.exit(0 if is_clean(PYPI, sorted(would_install(sys.argv[1]))) else 1)


def is_clean(pypi: str, releases: list[tuple[str, str]]) -> bool:
    """Print a line for each release, and a sum; return whether nothing is known against any, and all are known."""
    vulnerable = unknown = 0
    for name, version in releases:
        try:
            found = list(vulnerabilities(pypi, name, version))
            vulnerable += bool(found)
        except NotKnown as reason:
            found = [f"not known: {reason}"]
            unknown += 1
        print(f"{name} {version}:", "; ".join(found) or "none")
    print(f"{len(releases)} packages: {vulnerable} with known vulnerabilities, {unknown} of which PyPI tells nothing")
    return bool(releases) and not vulnerable and not unknown


def would_install(requirement: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of what pip would put into an empty environment, but for what lies on this disk.

    https://pip.pypa.io/en/stable/reference/installation-report/
    """
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        options = ["--dry-run", "--ignore-installed", "--quiet", "--report", os.fspath(report)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, requirement], check=True)
        packages = json.loads(report.read_text())["install"]
    for package in packages:
        if not package["is_direct"]:
            yield package["metadata"]["name"], package["metadata"]["version"]


def vulnerabilities(pypi: str, name: str, version: str) -> Iterator[str]:
    """Yield what is known against one release: identifiers, and the versions in which it is mended.

    https://docs.pypi.org/api/json/#known-vulnerabilities

    @raise NotKnown: PyPI does not say.
    """
    answer = fetch(f"{pypi}/{name}/{version}/json") or fetch(f"{pypi}/{name}/json")
    if answer is None:
        raise NotKnown("it has neither the release nor the project")
    told_of = answer["info"]["version"]
    if told_of != version:
        raise NotKnown(f"it tells only of {told_of}")
    if "vulnerabilities" not in answer:
        raise NotKnown("it has no list of vulnerabilities")
    for known in answer["vulnerabilities"]:
        if not known["withdrawn"]:
            mended = ", ".join(known["fixed_in"]) or "no version"
            yield f"{' = '.join([known['id'], *known['aliases']])}, mended in {mended}"


def fetch(url: str) -> dict[str, Any] | None:
    """Return what stands there; None: nothing does.

    @raise NotKnown: there was no answer, or one that says nothing.
    """
    try:
        with urlopen(url, timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        if error.code == 404:
            return None
        raise NotKnown(f"{url}: {error}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NotKnown(f"{url}: {error}") from None
    return content


if __name__ == "__main__":
    main()
