"""The mixed load, for a moment: so that nobody finds out after half an hour that it does not run any more."""

from __future__ import annotations

import contextlib
import io

from twisted.trial.unittest import SynchronousTestCase

from tests.soak import __main__ as soak

SETTLING = ("open files", "threads")
"""What is flat only when all has been used once: the first round of seconds says nothing of these."""


class MixedLoad(SynchronousTestCase):
    """`make soak`."""

    def test_short_load(self) -> None:
        """The mixed load runs, and finds nothing within some seconds."""
        options = soak.parser().parse_args(["4", "--round", "2", "--clients", "4"])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            findings = soak.soak(options)
        missed = [finding for finding in findings if finding.holds is False]
        missed = [each.line() for each in missed if not each.check.startswith(SETTLING)]
        self.assertEqual(missed, [], printed.getvalue())
