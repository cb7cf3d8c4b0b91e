"""Make a virtual environment with pip in it: `python3 make_venv.py DIRECTORY`.

Like `python3 -m venv`, but it also works where Debian and Ubuntu have split `ensurepip` off into the package
python3-venv and nobody has installed that: then pip comes from the package index.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

OLDEST = (3, 11)
PIP = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main() -> None:
    """Make the environment, or exit with 1 and say what is missing."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {sys.version.split()[0]} is too old: llama-swap needs 3.11 or later (make PYTHON=python3.13)")
    directory = Path(sys.argv[1])
    has_pip = find_spec("ensurepip") is not None
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=has_pip).create(directory)
    if not has_pip:
        install_pip(directory / "bin" / "python")


def install_pip(python: Path) -> None:
    """Let a wheel of pip install itself into the environment of `python`."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    try:
        wheel = fetch(f"{index}/pip/")
    except (URLError, LookupError, ValueError) as error:
        sys.exit(f"cannot fetch pip from {index} ({error}); try instead: apt-get install python3-venv")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / PIP
        file.write_bytes(wheel)
        pip = [os.fspath(python), os.fspath(file / "pip")]
        subprocess.run([*pip, "install", "--quiet", "--no-index", os.fspath(file)], check=True)


def fetch(page: str) -> bytes:
    """Return the wheel that the index's page for pip links to.

    https://packaging.python.org/en/latest/specifications/simple-repository-api/
    """
    with urlopen(Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"}), timeout=60) as answer:
        files = json.load(answer)["files"]
    url = next((file["url"] for file in files if file["filename"] == PIP), None)
    if url is None:
        raise LookupError(f"it has no {PIP}")
    with urlopen(urljoin(page, url), timeout=60) as answer:
        content: bytes = answer.read()
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        raise ValueError(f"{PIP} is not what it should be")
    return content


if __name__ == "__main__":
    main()
