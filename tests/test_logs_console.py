"""The proxy's own stdout never stops the proxy, whoever reads it or not."""

from __future__ import annotations

import contextlib
import os
import re
import threading

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.logs.console import ConsoleWriter
from tests.support_processes import wait_until

CONSOLE = "console"


def threads() -> list[str]:
    """Return the names of this program's threads."""
    return [thread.name for thread in threading.enumerate()]


class ConsoleTests(SynchronousTestCase):
    """Writing to a pipe."""

    def setUp(self) -> None:
        """Make a pipe, and a console at its writing end."""
        self.reading, self.writing = os.pipe()
        self.console = ConsoleWriter(self.writing, limit=10_000)

    def tearDown(self) -> None:
        """Close what is open still; a thread that waits for the reader then ends."""
        with contextlib.suppress(OSError):
            os.close(self.reading)
        self.console.close()
        with contextlib.suppress(OSError):
            os.close(self.writing)

    def read_all(self) -> bytes:
        """Close the writing end, and read what it wrote."""
        os.close(self.writing)
        with os.fdopen(self.reading, "rb") as stream:
            return stream.read()

    def test_writes(self) -> None:
        """Lines come out in their order, all of them before `close` returns."""
        for number in range(100):
            self.console.write(b"%d\n" % number)
        self.console.close()
        self.assertEqual(self.read_all(), b"".join(b"%d\n" % number for number in range(100)))

    def test_no_thread(self) -> None:
        """Where no thread can be started, nobody hears of that, and the lines come out once one can be."""

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        failing = self.patch(threading.Thread, "start", fail)
        self.console.write(b"first\n")
        failing.restore()
        self.console.write(b"second\n")
        self.console.close()
        self.assertEqual(self.read_all(), b"first\nsecond\n")

    def test_undrained(self) -> None:
        """When nobody reads, writing does not wait, and the oldest lines are lost with a notice."""
        for number in range(10_000):
            self.console.write(b"%099d\n" % number)
        self.console.close(patience=0.05)
        received = b""
        while b"%099d\n" % 9_999 not in received:
            received += os.read(self.reading, 65536)
        expected = 0
        for line in received.decode().splitlines():
            if lost := re.match(r"— \d+ bytes dropped \((\d+) lines\)", line):
                expected += int(lost[1])
            else:
                self.assertEqual(int(line), expected)
                expected += 1
        self.assertEqual(expected, 10_000)
        self.assertLess(len(received), 200_000)

    def test_shared_and_non_blocking(self) -> None:
        """It waits, rather than fails, if somebody made the file non-blocking."""
        os.set_blocking(self.writing, False)
        console = ConsoleWriter(self.writing)
        console.write(b"x" * 199_999 + b"\n")
        received = 0
        while received < 200_000:
            received += len(os.read(self.reading, 65536))
        console.close()
        self.assertEqual(received, 200_000)

    def test_reader_gone(self) -> None:
        """When the other end is gone, lines are let go: nothing is kept, and no thread waits."""
        console = ConsoleWriter(self.writing)
        for _ in range(2):
            console.write(b"x" * 199_999 + b"\n")  # more than a pipe holds
        os.close(self.reading)
        wait_until(lambda: CONSOLE not in threads(), 5, "the end of the thread")
        console.write(b"no\n")
        self.assertNotIn(CONSOLE, threads())
        self.assertIsNone(console._backlog.pop())

    def test_never_used(self) -> None:
        """A console that wrote nothing has no thread; closed, it writes nothing."""
        self.assertNotIn(CONSOLE, threads())
        self.console.close()
        self.console.write(b"too late\n")
        self.assertEqual(self.read_all(), b"")
