"""docs/reliability.md names only tests and checks that exist."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.checks import all_checks

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "reliability.md"
NAMED = re.compile(r"`(?:([a-z0-9_]+): )?([a-z0-9_-]+)`")


class ReliabilityDocument(SynchronousTestCase):
    """The second column of its tables."""

    def test_names(self) -> None:
        """Each name is a test of the module that was named last, a whole module, or a long check."""
        checks, seen = all_checks(), 0
        for row in DOCUMENT.read_text().splitlines():
            source = ""
            for module, name in NAMED.findall(row.split("|")[2] if row.startswith("| ") else ""):
                if module:
                    source = (TESTS / f"test_{module}.py").read_text()
                if name in checks or (TESTS / f"test_{name}.py").exists():
                    source = ""
                else:
                    self.assertIn(f"def test_{name}(", source, f"{module} {name}")
                seen += 1
        self.assertGreater(seen, 100)
