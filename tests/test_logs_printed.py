"""Whose lines are printed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.logs.printed import Printed


class PrintedTests(SynchronousTestCase):
    """`Printed`."""

    def test_follows(self) -> None:
        """Each choice is heeded from when it is made on: no line twice, and none of before."""
        logs, lines = Broadcaster(), list[bytes]()
        printed, output = Printed(logs, lines.append), logs.writer("a")
        for whose, expected in (
            ("none", []),
            ("proxy", [b"own\n"]),
            ("both", [b"own\n", b"output\n"]),
            ("both", [b"own\n", b"output\n"]),
            ("upstream", [b"output\n"]),
            ("none", []),
        ):
            lines.clear()
            printed.follow(whose)
            logs.publish_proxy(b"own\n")
            output.write(b"output\n")
            self.assertEqual(lines, expected, whose)
