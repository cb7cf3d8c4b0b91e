"""The long checks themselves are not run here; what they judge with is tested."""

from __future__ import annotations

import contextlib
import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.soak import checks
from tests.soak.clients import ACTIONS
from tests.soak.procfs import Sample, slope
from tests.soak.report import at_most, exactly, told


def grown(*memory_mb: float) -> list[Sample]:
    """Return samples, one a minute, of a process that occupied so much."""
    return [Sample(60.0 * minute, size, 10, 2, 0, 0.0) for minute, size in enumerate(memory_mb)]


class JudgingTests(SynchronousTestCase):
    """Figures and thresholds."""

    def test_findings(self) -> None:
        """A threshold holds or not; a figure that is only told is not judged."""
        self.assertIs(at_most("c", 2, 2).holds, True)
        self.assertIs(at_most("c", 2.1, 2).holds, False)
        self.assertIs(exactly("c", "50 of 50", "50 of 50").holds, True)
        self.assertIs(exactly("c", 1, 0).holds, False)
        self.assertIsNone(told("c", 5).holds)
        self.assertEqual(at_most("memory", 61.5, 40, " MB").line(), "| memory | ≤ 40 MB | 61.5 MB | **NO** |")

    def test_slope(self) -> None:
        """Growth shows as what it is, single peaks do not."""
        self.assertAlmostEqual(slope(grown(50, 50.3, 50.6, 50.9, 51.2, 51.5)), 3)
        self.assertAlmostEqual(slope(grown(50, 50, 80, 50, 50, 50, 50)), 0)


class ProgramTests(SynchronousTestCase):
    """The two programs."""

    def test_list(self) -> None:
        """Each check has a name and says what it is for."""
        self.patch(sys, "argv", ["checks", "--list"])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            checks.main()
        lines = printed.getvalue().splitlines()
        self.assertGreater(len(lines), 15)
        for line in lines:
            self.assertGreater(len(line.split()), 5, line)

    def test_unknown(self) -> None:
        """A check that is not there is refused, with those that are."""
        self.patch(sys, "argv", ["checks", "nothing"])
        with contextlib.redirect_stderr(io.StringIO()) as printed, self.assertRaises(SystemExit):
            checks.main()
        self.assertIn("slow-load", printed.getvalue())

    def test_actions(self) -> None:
        """Every kind of client says what it does."""
        for action in ACTIONS:
            self.assertTrue(action.__doc__, action)
