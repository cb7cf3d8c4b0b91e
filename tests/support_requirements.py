"""Programs that some tests need, and what happens where they are missing."""

from __future__ import annotations

import os
import shutil

from twisted.trial.unittest import FailTest, SkipTest


def require_program(name: str, apt_package: str) -> str:
    """Return the path of a program.

    Where it is missing the test is skipped, with the command that would install it; but with CI=true in the
    environment the test fails, so that nothing goes untested there unseen.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    advice = f"{name} is not installed; try: apt-get install {apt_package}"
    if os.environ.get("CI") == "true":
        raise FailTest(advice)
    raise SkipTest(advice)
