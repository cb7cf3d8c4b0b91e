"""Work that can be stopped even while it holds Python's global lock."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

PRELUDE = """
import ctypes, os, signal, sys
from llama_swap.llamacpp.stoppable import run_stoppable

def stuck():
    print("stuck", flush=True)
    ctypes.PyDLL(None).sleep(600)  # a call that keeps the global lock
    return 9

"""


def start(program: str) -> subprocess.Popen[bytes]:
    """Start a Python program in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program],
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def read_line(process: subprocess.Popen[bytes], timeout: float = 10) -> bytes:
    """Return the next line of output; empty once every holder of the pipe is gone."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(timeout), f"nothing was printed within {timeout} s"
    return process.stdout.readline()


class RunStoppableTests(SynchronousTestCase):
    """`run_stoppable` in a program of its own."""

    def stuck_program(self) -> subprocess.Popen[bytes]:
        """Start work that lets no Python code run, and wait until it is there."""
        process = start("sys.exit(run_stoppable(stuck))")
        self.addCleanup(process.communicate)
        self.assertEqual(read_line(process), b"stuck\n")
        return process

    def test_signals(self) -> None:
        """TERM and INT end it with 0, whether one process gets them or the whole group; nothing is left."""
        for number in (signal.SIGTERM, signal.SIGINT):
            for send in (os.kill, os.killpg):
                process = self.stuck_program()
                send(process.pid, number)
                self.assertEqual(read_line(process), b"")
                self.assertEqual(process.wait(5), 0)

    def test_killed(self) -> None:
        """The work does not outlive a parent that was killed."""
        process = self.stuck_program()
        process.kill()
        self.assertEqual(read_line(process), b"")
        self.assertEqual(process.wait(5), -signal.SIGKILL)

    def test_status(self) -> None:
        """Work that ends by itself gives the exit status."""
        for status in (0, 3):
            process = start(f"sys.exit(run_stoppable(lambda: {status}))")
            process.communicate(timeout=10)
            self.assertEqual(process.returncode, status)

    def test_exception(self) -> None:
        """An exception takes its usual way, in the process in which it was raised."""
        process = start("sys.exit(run_stoppable(lambda: 1 / 0))")
        _, printed = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(printed.count(b"ZeroDivisionError"), 1)

    def test_crash(self) -> None:
        """Work that was killed by anything else is told of."""
        process = start(
            "try:\n run_stoppable(lambda: os.kill(os.getpid(), signal.SIGABRT))\n"
            "except ChildProcessError as error: print(error)"
        )
        printed, _ = process.communicate(timeout=10)
        self.assertEqual(printed, b"killed by SIGABRT\n")

    def test_paused(self) -> None:
        """A pause and its end (SIGSTOP, SIGCONT) are not an end."""
        process = self.stuck_program()
        os.killpg(process.pid, signal.SIGSTOP)
        os.killpg(process.pid, signal.SIGCONT)
        self.assertIsNone(process.poll())
        process.terminate()
        self.assertEqual(process.wait(5), 0)
