"""Pack wheels and what they need into one file that any Python of the same version starts: `make all`.

shiv does it.  Such a file unpacks itself before its program runs, and where it cannot, shiv's own start ends in a
traceback; the start that is put in its place here says in a line what is wrong and what to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

START = """\
import os, sys

if sys.version_info[:2] != ({major}, {minor}):
    sys.exit("%s needs Python {major}.{minor}, and this is %d.%d" % (sys.argv[0], *sys.version_info[:2]))

from _bootstrap import Environment, bootstrap, cache_path, current_zipfile, extract_site_packages

try:
    with current_zipfile() as archive:
        env = Environment.from_json(archive.read("environment.json").decode())
        directory = cache_path(archive, env.root, env.build_id)
        if not (directory / "site-packages").exists():
            extract_site_packages(archive, directory, env.compile_pyc, env.compile_workers)
except (OSError, RuntimeError) as error:
    where = os.path.expanduser(os.environ.get("SHIV_ROOT") or "~/.shiv")
    why = getattr(error, "strerror", None) or error
    sys.exit("%s cannot unpack into %s: %s; SHIV_ROOT=DIRECTORY names another place" % (sys.argv[0], where, why))

bootstrap()
"""


def main() -> None:
    """Make the program that the command line asks for; exit as shiv does where it cannot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("program", type=Path, help="the file to make")
    parser.add_argument("wheels", nargs="+", help="what goes into it, as pip understands it")
    asked = parser.parse_args()
    how = ["--quiet", "--reproducible", "--console-script", "llama-swap", "--output-file", str(asked.program)]
    packed = subprocess.run([sys.executable, "-m", "shiv", *how, *asked.wheels], check=False)
    if packed.returncode != 0:
        sys.exit(packed.returncode)
    put_start(asked.program)


def put_start(program: Path) -> None:
    """Replace the program's `__main__.py`."""
    with ZipFile(program) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    major, minor = sys.version_info[:2]
    start = START.format(major=major, minor=minor).encode()
    with program.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            for entry, content in entries:
                archive.writestr(entry, start if entry.filename == "__main__.py" else content)


if __name__ == "__main__":
    main()
