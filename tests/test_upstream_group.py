"""Who holds a file, by /proc."""

from __future__ import annotations

import os
from pathlib import Path
from subprocess import Popen
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.upstream.group import ProcessGroup, holders_of


class StrayTests(SynchronousTestCase):
    """`ProcessGroup.strays`."""

    def test_without_the_load(self) -> None:
        """They are found also where /proc shows nothing but processes."""
        stray = Popen(["/bin/sleep", "1000"], env={"MARK": "7"})
        self.addCleanup(stray.wait)
        self.addCleanup(stray.kill)
        read_bytes = Path.read_bytes

        def read(path: Path) -> bytes:
            if path == Path("/proc/loadavg"):
                raise FileNotFoundError
            return read_bytes(path)

        self.patch(Path, "read_bytes", read)
        self.assertEqual(ProcessGroup(b"MARK=7", leader=stray.pid - 1).strays(), {stray.pid})


class HoldersTests(SynchronousTestCase):
    """`holders_of`."""

    def setUp(self) -> None:
        """A pipe, and two processes that write to it."""
        reading, self.writing = os.pipe()
        for descriptor in (reading, self.writing):
            self.addCleanup(os.close, descriptor)
        self.file = f"pipe:[{os.fstat(reading).st_ino}]"
        self.one, self.two = self.sleeper(), self.sleeper()

    def sleeper(self) -> Popen[bytes]:
        """Return a process with the pipe as its standard output and error."""
        process = Popen(["/bin/sleep", "1000"], stdout=self.writing, stderr=self.writing)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_who(self) -> None:
        """All who have it open are found, or those who have it as one of a few descriptors."""
        self.assertEqual(holders_of({self.file}), sorted([os.getpid(), self.one.pid, self.two.pid]))
        self.assertEqual(holders_of({self.file}, (0, 1)), sorted([self.one.pid, self.two.pid]))
        self.assertEqual(holders_of({self.file}, (0,)), [])

    def test_ends_while_looked_at(self) -> None:
        """Who ends at the moment it is looked at, however that is done, is left out, and the others are found."""
        for name in ("listdir", "scandir", "readlink"):
            self.patch(os, name, self.too_late(getattr(os, name)))
        for descriptors in ((1, 2), ()):
            self.assertIn(self.two.pid, found := holders_of({self.file}, descriptors))
            self.assertNotIn(self.one.pid, found)
            self.one = self.sleeper()

    def too_late(self, look: Any) -> Any:
        """Return how to look into a directory of /proc whose process has ended since it was listed."""

        def looked(path: Any) -> Any:
            if str(path).startswith(f"/proc/{self.one.pid}/fd"):
                self.one.kill()
                self.one.wait()
            return look(path)

        return looked
