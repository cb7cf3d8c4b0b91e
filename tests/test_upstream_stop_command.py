"""`cmdStop`: what it is given, when it runs, and what follows if it does not help."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.process import LocalChild
from tests.support_processes import is_alive
from tests.support_upstream import KILLED, LOOP, ProcessCase, Run

SERVER = """
import os, signal
heeded = {HEEDED}
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, *heeded})
print("up", flush=True)
number = signal.sigwait(heeded)
print(number.name, flush=True)
os._exit(heeded[number])
"""
POLITE = SERVER.replace("{HEEDED}", "{signal.SIGTERM: 0, signal.SIGUSR1: 7}")
STUBBORN = SERVER.replace("{HEEDED}", "{signal.SIGUSR1: 7}")
BY_SIGNAL = ("kill", "-USR1", "${PID}")


def script(text: str) -> tuple[str, ...]:
    """Return a `cmdStop` that runs a shell script."""
    return ("sh", "-c", text)


class StopCommandTests(ProcessCase):
    """Models with a `cmdStop`."""

    async def up(self, server: str, cmd_stop: tuple[str, ...], **more: Any) -> Run:
        """Return a running model."""
        run = self.run_python(server, cmd_stop=cmd_stop, **more)
        await run.said()
        return run

    async def test_instead_of_a_signal(self) -> None:
        """It is told the pid, and the model gets no SIGTERM while it may work."""
        run = await self.up(POLITE, BY_SIGNAL)
        run.child.stop(10)
        self.assertEqual(await run.ended, ExitStatus(code=7))
        await run.exited
        self.assertIn(b"SIGUSR1", run.logs.history("m"))
        self.assertNotIn(b"TERM", run.logs.history("m"))

    async def test_finds(self) -> None:
        """It has the model's environment, runs beside the model, and what it says is in the model's log."""
        run = await self.up(POLITE, script("echo $NAME; ps -o pgid= -p $$; kill -USR1 ${PID}"), env={"NAME": "value"})
        run.child.stop(10)
        await run.exited
        said = run.logs.history("m").split()
        self.assertIn(b"value", said)
        self.assertNotIn(str(run.child.pid).encode(), said)

    async def test_runs_once(self) -> None:
        """However often the model is told to leave, and however it leaves."""
        marker = Path(self.mktemp())
        run = await self.up(POLITE, script(f"echo x >> '{marker.absolute()}'; sleep 0.2; kill -USR1 ${{PID}}"))
        run.child.stop(10)
        run.child.stop(10)
        await run.exited
        run.child.stop(10)
        self.assertEqual(marker.read_text(), "x\n")

    async def test_after_a_crash(self) -> None:
        """What the program was a client of may be there still: it runs as well if the program ended by itself."""
        marker = Path(self.mktemp())
        run = await self.up(POLITE, script(f"sleep 0.3; echo stopped > '{marker.absolute()}'; false"))
        os.kill(run.child.pid, signal.SIGKILL)
        self.assertEqual(await run.ended, KILLED)
        self.assertFalse(run.is_gone)
        await run.exited
        self.assertEqual(marker.read_text(), "stopped\n")

    async def test_time(self) -> None:
        """It has the whole of the grace, and the model is left alone meanwhile."""
        run = await self.up(POLITE, script("sleep 1; kill -USR1 ${PID}"))
        run.child.stop(3)
        self.assertEqual(await run.exited, ExitStatus(code=7))

    async def test_fails(self) -> None:
        """If it fails, or is not there, a signal is sent at once, and the log says why."""
        for cmd_stop in (("false",), ("no-such-program", "stop")):
            warnings = self.warnings()
            run = await self.up(POLITE, cmd_stop)
            began = LOOP.seconds()
            run.child.stop(10)
            self.assertEqual(await run.exited, ExitStatus(code=0))
            self.assertLess(LOOP.seconds() - began, 10)
            self.assertIn(b"TERM", run.logs.history("m"))
            self.assertIn("cmdStop", " ".join(warnings))

    async def test_does_not_help(self) -> None:
        """If the model is still there when the grace is over, it is sent SIGTERM, and a second later SIGKILL."""
        for server, status in ((POLITE, ExitStatus(code=0)), (STUBBORN, KILLED)):
            run = await self.up(server, ("true",))
            began = LOOP.seconds()
            run.child.stop(0.5)
            self.assertEqual(await run.exited, status)
            self.assertGreater(LOOP.seconds() - began, 0.4)

    async def test_hangs(self) -> None:
        """If it hangs it is killed itself when the grace is over."""
        run = await self.up(POLITE, script("echo pid $$; trap '' TERM; sleep 1000; sleep 1000"))
        run.child.stop(0.5)
        *_, pid = await run.said(3)
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertFalse(is_alive(int(pid)))

    async def test_kill(self) -> None:
        """A kill waits for nothing."""
        run = await self.up(POLITE, ("sleep", "1000"))
        run.child.stop(1000)
        run.child.kill()
        self.assertEqual(await run.exited, KILLED)

    async def test_leaves_something_behind(self) -> None:
        """What it leaves running is not taken for the model's server: it is ended."""
        run = await self.up(POLITE, script("setsid sleep 1000 & echo stray $!; kill -USR1 ${PID}"))
        run.child.stop(3)
        await run.exited
        words = run.logs.history("m").split()
        self.assertFalse(is_alive(int(words[words.index(b"stray") + 1])))

    async def test_timers(self) -> None:
        """No delayed call is left when the model is gone, however it went."""
        ways: list[tuple[tuple[str, ...], Callable[[LocalChild], object]]] = [
            (BY_SIGNAL, lambda child: child.stop(10)),
            (("false",), lambda child: child.stop(10)),
            (("true",), lambda child: child.stop(0.2)),
            (("sleep", "1000"), lambda child: child.stop(0.2)),
            (("sleep", "1000"), lambda child: (child.stop(10), child.kill())),
            (BY_SIGNAL, lambda child: os.kill(child.pid, signal.SIGKILL)),
        ]
        for cmd_stop, act in ways:
            clock = Clock()
            run = await self.up(POLITE, cmd_stop, clock=clock)
            act(run.child)
            await self.exited_by(clock, run)
            self.assertEqual(clock.getDelayedCalls(), [], cmd_stop)
