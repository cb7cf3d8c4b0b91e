"""tools/make_venv.py, where Python comes without ensurepip, as on a bare Debian."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ROOT
from tests.support_llamacpp import do_without
from tests.support_processes import free_port

TOOL = ROOT / "tools" / "make_venv.py"
WITHOUT_ENSUREPIP = f"""
import runpy, sys
sys.modules["ensurepip"] = None
runpy.run_path({str(TOOL)!r}, run_name="__main__")
"""


class MakeVenvTests(SynchronousTestCase):
    """`make_venv.py DIRECTORY` with the help of the package index."""

    def setUp(self) -> None:
        """Provide a place for the environment."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.target = Path(directory.name) / "env"

    def make(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the tool with ensurepip hidden."""
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_ENSUREPIP, str(self.target)],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def test_pip_from_the_index(self) -> None:
        """The environment has a pip that works."""
        made = self.make()
        if "cannot fetch pip" in made.stderr:
            do_without(made.stderr)
        self.assertEqual(made.returncode, 0, made.stderr)
        pip = [str(self.target / "bin" / "python"), "-m", "pip", "--version"]
        told = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
        self.assertIn(str(self.target), told)

    def test_no_index(self) -> None:
        """Where there is no way to the index, the package that helps is named."""
        made = self.make(PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple")
        self.assertEqual(made.returncode, 1)
        self.assertIn("Connection refused", made.stderr)
        self.assertIn("apt-get install python3-venv", made.stderr)
        self.assertNotIn("Traceback", made.stderr)
