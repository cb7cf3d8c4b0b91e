"""The guard: what it kills, and what not.  Its pipe is closed by us, as the kernel would if we were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults

from llama_swap.upstream.guard import Guard
from tests.fakes import FakeGuard
from tests.support_processes import command_line, is_alive, wait_until
from tests.support_upstream import KILLED, LOOP, TERMINATED, ProcessCase


class GuardTests(ProcessCase):
    """`Guard`, with real models."""

    guard: Any

    def setUp(self) -> None:
        self.guard = Guard(LOOP)
        self.addCleanup(self.guard.stop)

    async def test_kills_what_is_left(self) -> None:
        """Every group that it knows dies, however little it wants to."""
        runs = [self.run_shell("trap '' TERM HUP; echo up; sleep 1000; sleep 1000") for _ in range(3)]
        await gatherResults([run.said() for run in runs])
        await self.guard.stop()
        self.assertEqual(await gatherResults([run.exited for run in runs]), [KILLED] * 3)

    async def test_kills_what_has_hardly_begun(self) -> None:
        """A model that was launched just before has neither a group nor a mark to be found by, until a moment later."""
        with tempfile.TemporaryDirectory() as directory:
            for pipe in ("wait", "lead"):
                os.mkfifo(f"{directory}/{pipe}")
            pause = Path(directory, "sleep")  # the guard's patience, cut off when the group is there
            pause.write_text('#!/bin/sh\nd=${0%/*}; echo now >"$d/wait"; read -r now <"$d/lead"\n')
            pause.chmod(0o700)
            script = f"cd '{directory}'; read -r now <wait; exec setsid sh -c 'echo now >lead; exec /bin/sleep 1000'"
            model = subprocess.Popen(["sh", "-c", script])
            self.addCleanup(model.wait)
            self.addCleanup(model.kill)
            self.patch(os, "environ", {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"})
            self.guard.mark()
            self.guard.watch(model.pid)
            await self.guard.stop()
            self.assertEqual(model.wait(5), -signal.SIGKILL)

    async def test_forgets(self) -> None:
        """A group that is gone is not remembered: its number may be somebody else's."""
        guard, self.guard = self.guard, FakeGuard()
        groups = [self.run_shell("echo up; exec sleep 1000") for _ in range(3)]
        await gatherResults([run.said() for run in groups])
        for run in groups:
            guard.mark()
            guard.watch(run.child.pid)
        guard.forget(groups[1].child.pid)
        await guard.stop()
        self.assertEqual([await groups[0].exited, await groups[2].exited], [KILLED, KILLED])
        self.assertTrue(groups[1].child.alive())
        groups[1].child.stop(10)
        self.assertEqual(await groups[1].exited, TERMINATED)

    async def test_finds_who_left_the_group(self) -> None:
        """A child of a model that has made itself a session of its own dies as well."""
        run = self.run_python(
            "import subprocess, time\n"
            "print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid, flush=True)\n"
            "time.sleep(1000)\n"
        )
        (stranger,) = map(int, await run.said())
        await self.guard.stop()
        await run.exited
        self.assertFalse(is_alive(stranger))

    async def test_comes_back(self) -> None:
        """If somebody kills the guard, the next model starts it again, and it knows the earlier ones, too."""
        first = self.run_shell("exec sleep 1000")
        killed, ended = self.guard.transport.pid, self.guard._ended
        os.kill(killed, signal.SIGKILL)
        await ended
        second = self.run_shell("exec sleep 1000")
        self.assertNotEqual(self.guard.transport.pid, killed)
        await self.guard.stop()
        self.assertEqual([await first.exited, await second.exited], [KILLED, KILLED])

    async def test_outlives_what_stops_others(self) -> None:
        """The guard heeds no signal that a terminal or an impatient user sends to all; it shares no group with us."""
        run = self.run_shell("exec sleep 1000")
        guard = self.guard.transport.pid
        wait_until(lambda: "llama-swap-guard" in command_line(guard) and "setsid" not in command_line(guard), 5)
        self.assertEqual(os.getpgid(guard), guard)
        wait_until(lambda: ignores(guard, signal.SIGTERM), 5)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guard, number)
        run.child.stop(10)
        self.assertEqual(await run.exited, TERMINATED)
        self.assertTrue(is_alive(guard))

    async def test_was_not_needed(self) -> None:
        """Without a model there is no guard to let go."""
        await self.guard.stop()
        self.assertIsNone(self.guard._ended)


def ignores(pid: int, number: int) -> bool:
    """Tell whether a process ignores a signal."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in status if line.startswith("SigIgn"))
    return bool(int(mask, 16) >> (number - 1) & 1)
