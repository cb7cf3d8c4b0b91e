"""What SIGHUP means, before, while and after the terminal closes."""

from __future__ import annotations

import errno
import os
import signal

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.lifecycle import terminal as terminal_module
from llama_swap.lifecycle.terminal import CLOSES_WITHIN, LOOK_EVERY, SAID_WITHIN, Terminal


class TerminalTests(SynchronousTestCase):
    """A program in a terminal that opens and closes as it is told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.done: list[str] = []
        self.is_there = True
        self.patch(terminal_module, "_is_there", lambda: self.is_there)
        self.terminal = self.started(is_used=True)

    def started(self, *, is_used: bool) -> Terminal:
        """Return how a program stands that runs until the end of the test."""
        terminal = Terminal(self.clock, is_used=is_used)
        terminal.startService()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(terminal.stopService)
        return terminal

    def pass_by(self, seconds: float) -> None:
        """Let time go by, in small steps."""
        self.clock.pump([0.25] * round(seconds / 0.25))

    def hang_up(self) -> None:
        """Send SIGHUP."""
        self.terminal.hang_up(lambda: self.done.append("reload"), lambda: self.done.append("stop"))

    def test_open(self) -> None:
        """As long as it is open, each SIGHUP is a reload."""
        for _ in range(3):
            self.hang_up()
            self.pass_by(10)
        self.assertEqual(self.done, ["reload"] * 3)

    def test_closing_first(self) -> None:
        """The kernel says that it has closed; a shell that has many jobs may take its time, and say it twice."""
        for wait in (0, LOOK_EVERY, SAID_WITHIN - 0.25):
            self.terminal.stopService()
            self.is_there = True
            self.terminal = self.started(is_used=True)
            self.pass_by(LOOK_EVERY - 0.25)
            self.is_there = False
            self.pass_by(wait)
            self.hang_up()
            self.hang_up()
        self.assertEqual(self.done, ["stop"] * 6)

    def test_signal_first(self) -> None:
        """A shell that ends tells its jobs before the terminal closes."""
        for wait in (0, 0.25, CLOSES_WITHIN - 0.25):
            self.terminal.stopService()
            self.is_there = True
            self.terminal = self.started(is_used=True)
            self.pass_by(LOOK_EVERY - 0.25)
            self.hang_up()
            self.pass_by(wait)
            self.is_there = False
            self.pass_by(CLOSES_WITHIN)
        self.assertEqual(self.done, ["reload", "stop"] * 3)

    def test_signal_long_before(self) -> None:
        """A terminal that closes some time after a reload ends nothing without saying so."""
        self.hang_up()
        self.pass_by(CLOSES_WITHIN)
        self.is_there = False
        self.pass_by(30)
        self.assertEqual(self.done, ["reload"])

    def test_outlives(self) -> None:
        """Whoever outlives the closing reloads from then on, however often, and looks no more."""
        self.is_there = False
        self.pass_by(LOOK_EVERY + SAID_WITHIN)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for _ in range(2):
            self.hang_up()
            self.pass_by(10)
        self.assertEqual(self.done, ["reload", "reload"])

    def test_many_reloads(self) -> None:
        """However fast one SIGHUP follows another, the closing is seen."""
        for _ in range(8):
            self.hang_up()
            self.pass_by(1)
        self.is_there = False
        self.pass_by(CLOSES_WITHIN)
        self.assertEqual(self.done, ["reload"] * 8 + ["stop"])

    def test_stopped(self) -> None:
        """Once the service has ended, nothing is looked at later."""
        self.hang_up()
        self.terminal.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without(self) -> None:
        """Who uses none looks at none."""
        self.terminal.stopService()
        self.terminal = self.started(is_used=False)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.is_there = False
        self.hang_up()
        self.assertEqual(self.done, ["reload"])


class StartTests(SynchronousTestCase):
    """What is found at the start, in a terminal."""

    def setUp(self) -> None:
        self.patch(terminal_module.os, "isatty", lambda _: True)
        self.patch(terminal_module, "_is_there", lambda: True)

    def looks(self, handler: signal.Handlers) -> bool:
        """Return whether the terminal matters to a program that was started with SIGHUP dealt with like this."""
        self.patch(terminal_module.signal, "getsignal", lambda _: handler)
        clock = Clock()
        Terminal.at_start(clock).startService()
        return bool(clock.getDelayedCalls())

    def test_used(self) -> None:
        """It is looked at."""
        self.assertTrue(self.looks(signal.SIG_DFL))

    def test_to_be_outlived(self) -> None:
        """Whoever ignores SIGHUP is not to end with it."""
        self.assertFalse(self.looks(signal.SIG_IGN))


class ThereTests(SynchronousTestCase):
    """Whether it is there, as the kernel says."""

    def says(self, number: int) -> bool:
        """Return what comes of an error of open()."""

        def refuse(*args: object) -> int:
            raise OSError(number, os.strerror(number))

        self.patch(terminal_module.os, "open", refuse)
        return terminal_module._is_there()

    def test_closed(self) -> None:
        """The session has none any more, or the one that it has was hung up."""
        self.assertEqual([self.says(number) for number in (errno.ENXIO, errno.EIO)], [False, False])

    def test_other_errors(self) -> None:
        """Where it cannot be opened for another reason, it has not closed."""
        numbers = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES)
        self.assertEqual([self.says(number) for number in numbers], [True] * 4)
