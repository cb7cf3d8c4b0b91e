"""Orphans: whose exits are collected, and whose not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.upstream import orphans
from llama_swap.upstream.orphans import PERIOD, collect, collect_as_process_one
from tests.support_processes import is_alive, wait_until
from tests.support_upstream import TERMINATED, ProcessCase, adopt_orphans

ABANDON = "sh -c 'exec sleep 1000 & echo $!'; exec sleep 1000"


def parent_of(pid: int) -> int:
    """Return who would collect the exit of a process (proc(5), `stat`)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class CollectTests(ProcessCase):
    """`collect`, with this process as the parent of all orphans."""

    async def test_orphan(self) -> None:
        """An orphan is collected when it is dead, and not before."""
        adopt_orphans(self)
        run = self.run_shell(ABANDON)
        (orphan,) = map(int, await run.said())
        wait_until(lambda: parent_of(orphan) == os.getpid(), 5)  # before that, its shell could still collect it
        self.assertEqual(collect(), [])
        os.kill(orphan, 15)
        collected = []
        while not collected:  # it steps aside for what Twisted has not yet collected, as of tests before this one
            await deferLater(reactor, 0.01)
            collected = collect()
        self.assertEqual(collected, [orphan])
        run.child.stop(10)
        self.assertEqual(await run.exited, TERMINATED)

    async def test_own_child(self) -> None:
        """The exit of what was launched stays for whoever launched it, also when it is dead and not collected yet."""
        run = self.run_shell("exec sleep 1000")
        os.kill(run.child.pid, 15)
        wait_until(lambda: not is_alive(run.child.pid), 5)
        self.assertEqual(collect(), [])
        self.assertEqual(await run.exited, TERMINATED)

    def test_quicker_thread(self) -> None:
        """Where a thread collects the exit of what it has started between our look and our call, that is no error."""
        child = subprocess.Popen(["true"])
        child.wait()
        self.patch(orphans, "_dead_child", iter([child.pid, None]).__next__)
        self.assertEqual(collect(), [])


class RegularTests(SynchronousTestCase):
    """`collect_as_process_one`."""

    def test_others(self) -> None:
        """Who is not process 1 inherits nobody."""
        clock = Clock()
        collect_as_process_one(clock)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_period(self) -> None:
        """Process 1 looks again and again."""
        self.patch(os, "getpid", lambda: 1)
        looks: list[None] = []
        self.patch(orphans, "collect", lambda: looks.append(None))
        clock = Clock()
        collect_as_process_one(clock)
        clock.pump([PERIOD] * 3)
        self.assertEqual(len(looks), 3)
