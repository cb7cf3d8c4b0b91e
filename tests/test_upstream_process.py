"""Models as process groups: real ones, with the real reactor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, LoopingCall
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from llama_swap.errors import StartFailed
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.upstream import process
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.process import LEFTOVER_GRACE, LocalChild, LocalLauncher
from tests.fakes import FakeGuard, make_model
from tests.support_processes import is_alive, open_files, wait_until

LOOP: Any = reactor
TERMINATED = ExitStatus(signal=signal.SIGTERM)
KILLED = ExitStatus(signal=signal.SIGKILL)


@define(eq=False)
class Run:
    """One launched program."""

    logs: Broadcaster
    child: LocalChild = field(init=False)
    exited: Deferred[ExitStatus] = field(factory=Deferred)

    def said(self, words: int = 1) -> Deferred[list[str]]:
        """Fire with the words of its output, once there are so many."""
        heard: Deferred[list[str]] = Deferred()
        output = b""

        def deliver(lines: bytes) -> None:
            nonlocal output
            output += lines
            if len(output.split()) >= words and not heard.called:
                heard.callback(output.decode().split())

        self.logs.subscribe("m", deliver, history=10_000)
        return heard


class ProcessCase(TestCase):
    """Launches programs; none outlives its test."""

    timeout = 20

    def setUp(self) -> None:
        self.guard = FakeGuard()

    def run_program(
        self,
        *cmd: str,
        clock: Any = LOOP,
        logs: Broadcaster | None = None,
        environ: dict[str, str] | None = None,
        **model: Any,
    ) -> Run:
        """Launch `cmd`; `model` goes into the fields of the model."""
        run = Run(logs or Broadcaster())
        launcher = LocalLauncher(LOOP, clock, run.logs, self.guard, os.environ if environ is None else environ)
        run.child = launcher.launch(make_model("m", cmd=cmd, **model), run.exited.callback)
        self.addCleanup(kill_group, run.child.pid)
        return run

    def warnings(self) -> list[str]:
        """Return the warnings that are logged from now on."""
        logged: list[str] = []

        def note(event: dict[str, Any]) -> None:
            if event["log_level"] == LogLevel.warn:
                logged.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return logged

    def run_shell(self, script: str, **more: Any) -> Run:
        """Launch a shell script."""
        return self.run_program("sh", "-c", script, **more)

    def run_python(self, code: str, **more: Any) -> Run:
        """Launch Python, without what makes it slow to start."""
        return self.run_program(sys.executable, "-ESs", "-c", code, **more)


def kill_group(group: int) -> None:
    """Leave nothing of a failed test behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def adopt_orphans(case: TestCase) -> None:
    """Be the parent of every orphan among our descendants, for the time of a test: PR_SET_CHILD_SUBREAPER of prctl."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(36, 1, 0, 0, 0) == 0
    case.addCleanup(libc.prctl, 36, 0, 0, 0, 0)


def zombies() -> list[str]:
    """Return our children that were not waited for."""
    states = [
        path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()
    ]
    return [state for state, parent, *_ in states if parent == str(os.getpid()) and state == "Z"]


class LaunchTests(ProcessCase):
    """What a program finds when it starts."""

    async def test_leads_a_session(self) -> None:
        """It leads a session and a group of its own, and is the very process that was launched."""
        run = self.run_shell("echo $$; exec sleep 1000")
        (pid,) = await run.said()
        self.assertEqual(int(pid), run.child.pid)
        self.assertEqual((os.getpgid(int(pid)), os.getsid(int(pid))), (int(pid), int(pid)))
        run.child.stop(10)
        self.assertEqual(await run.exited, TERMINATED)

    async def test_environment(self) -> None:
        """The environment is inherited, but for what the service manager told us; the model's own wins."""
        run = self.run_shell(
            'echo "$ONE-$TWO-$THREE-$NOTIFY_SOCKET-$GUARDED"',
            environ={"ONE": "1", "TWO": "old", "NOTIFY_SOCKET": "/run/notify", "PATH": os.defpath},
            env={"TWO": "new", "THREE": "3"},
        )
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertEqual(run.child.last_output(), "1-new-3--yes")

    async def test_standard_input_is_at_its_end(self) -> None:
        """Who reads standard input finds its end, instead of waiting for ever."""
        run = self.run_shell("cat; echo done")
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertEqual(run.child.last_output(), "done")

    async def test_inherits_no_files(self) -> None:
        """Its files are 0, 1 and 2, even if we hold others that would be inherited."""
        ours = os.dup(1)
        os.set_inheritable(ours, True)
        self.addCleanup(os.close, ours)
        run = self.run_python("import os; print(*(fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')))")
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertEqual(run.child.last_output(), "0 1 2")

    async def test_signals_are_as_usual(self) -> None:
        """What Python ignores, a model does not: a broken pipe ends it as it would in a shell."""
        run = self.run_python("import signal; print(signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL)", environ={})
        await run.exited
        shell = self.run_shell("trap; kill -PIPE $$; echo ignored")
        self.assertEqual(await shell.exited, ExitStatus(signal=signal.SIGPIPE))

    async def test_guard(self) -> None:
        """The guard knows the group as long as it is there."""
        run = self.run_shell("exec sleep 1000")
        self.assertEqual((self.guard.watched, self.guard.forgotten), ([run.child.pid], []))
        run.child.stop(10)
        await run.exited
        self.assertEqual(self.guard.forgotten, [run.child.pid])

    async def test_searches_the_path_of_the_model(self) -> None:
        """A program is found by the `PATH` that it will have, though `setsid` is not on that."""
        directory = Path(self.mktemp())
        directory.mkdir()
        program = directory / "my-server"
        program.write_text("#!/bin/sh\necho mine\n")
        program.chmod(0o755)
        run = self.run_program("my-server", env={"PATH": str(directory)})
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertEqual(run.child.last_output(), "mine")


class CannotStartTests(ProcessCase):
    """Programs that are not there; `exited` is not called for them."""

    def refused(self, *cmd: str, **more: Any) -> str:
        """Return the error of launching `cmd`."""
        error = self.assertRaises(StartFailed, self.run_program, *cmd, **more)
        self.assertEqual(self.guard.watched, [])
        return str(error)

    def test_missing(self) -> None:
        """The error names the model, the program, and where it is configured."""
        for program in ("no-such-program", "/no/such/program", str(Path(__file__).parent)):
            error = self.refused(program)
            for part in ("model m", repr(program), "models.m.cmd"):
                self.assertIn(part, error)

    def test_without_setsid(self) -> None:
        """A system without `setsid` is told so."""
        self.addCleanup(os.environ.__setitem__, "PATH", os.environ["PATH"])
        os.environ["PATH"] = "/nowhere"
        self.assertIn("setsid", self.refused(sys.executable))

    def test_not_to_be_written(self) -> None:
        """What no system takes as an argument or a variable is an error, not a crash."""
        self.assertIn("null byte", self.refused("echo", "a\0b"))
        self.assertIn("environment variable", self.refused("echo", env={"A=B": "c"}))

    async def test_bad_interpreter(self) -> None:
        """A script whose interpreter is missing ends at once, and its output says why."""
        script = Path(self.mktemp())
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        run = self.run_program(str(script.absolute()))
        status = await run.exited
        self.assertIn(status.code, (126, 127))
        self.assertIn(str(script), run.child.last_output())


class ExitTests(ProcessCase):
    """Programs that leave by themselves."""

    async def test_status_and_output(self) -> None:
        """The exit status is told, and the last lines of both streams, an unfinished one included."""
        run = self.run_shell("echo one; echo two >&2; printf three; exit 3")
        self.assertEqual(await run.exited, ExitStatus(code=3))
        said = run.child.last_output()
        self.assertTrue(all(word in said for word in ("one", "two", "three")), said)

    async def test_signal(self) -> None:
        """An end by a signal is told as such."""
        run = self.run_shell("kill -SEGV $$")
        status = await run.exited
        self.assertEqual((status, str(status)), (ExitStatus(signal=signal.SIGSEGV), "signal 11 (SIGSEGV)"))

    async def test_last_output_is_the_end(self) -> None:
        """Of much output the last whole lines are told."""
        run = self.run_shell("seq 10000; exit 1")
        await run.exited
        lines = run.child.last_output().split()
        self.assertEqual(lines[-1], "10000")
        self.assertLess(len(lines), 300)

    async def test_last_output_is_its_own(self) -> None:
        """What an earlier process of the model printed does not explain the end of this one."""
        logs = Broadcaster()
        await self.run_shell("echo earlier; exit 1", logs=logs).exited
        run = self.run_shell("exit 1", logs=logs)
        await run.exited
        self.assertEqual(run.child.last_output(), "")
        self.assertEqual(logs.history("m"), b"earlier\n")

    def test_alive(self) -> None:
        """Whether it lives is asked of the system: it is known before the reactor hears of the exit."""
        run = self.run_shell("exec sleep 1000")
        self.assertTrue(run.child.alive())
        os.kill(run.child.pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(run.child.pid), 5)
        self.assertFalse(run.child.alive())
        self.assertFalse(run.exited.called)

        def still_dead(status: ExitStatus) -> None:
            self.assertEqual(status, KILLED)
            self.assertFalse(run.child.alive())

        return run.exited.addCallback(still_dead)

    async def test_takes_its_group_along(self) -> None:
        """What it leaves behind in its group is asked to leave, before its exit is told."""
        run = self.run_shell("sleep 1000 & echo $!; exit 4")
        (left,) = await run.said()
        self.assertEqual(await run.exited, ExitStatus(code=4))
        self.assertFalse(is_alive(int(left)))

    async def test_takes_a_stubborn_group_along(self) -> None:
        """What does not leave when asked has a second, and is then killed."""
        run = self.run_shell("trap '' TERM; sleep 1000 & echo $!; exit 0")
        (left,) = await run.said()
        began = LOOP.seconds()
        await run.exited
        self.assertGreater(LOOP.seconds() - began, LEFTOVER_GRACE - 0.2)
        self.assertFalse(is_alive(int(left)))

    async def test_does_not_wait_for_the_dead(self) -> None:
        """A dead process that its new parent never waits for, as in many containers, does not delay the end."""
        adopt_orphans(self)
        run = self.run_shell("sleep 1000 & echo $!; wait")
        (orphan,) = map(int, await run.said())
        began = LOOP.seconds()
        run.child.stop(1000)
        self.assertEqual(await run.exited, TERMINATED)
        self.assertLess(LOOP.seconds() - began, 5)
        self.assertEqual(os.waitpid(orphan, os.WNOHANG)[0], orphan)

    async def test_does_not_wait_for_ever(self) -> None:
        """A group that the kernel cannot end, though it was killed, is given up after a while."""
        self.patch(process, "_members", lambda group: {os.getpid()})
        self.patch(process, "_runs_in", lambda group, pid: True)
        run = self.run_shell("trap '' TERM; echo up; sleep 1000 & wait; exit 5")
        await run.said()
        os.kill(run.child.pid, signal.SIGKILL)
        run.child.stop(0.1)
        self.assertEqual(await run.exited, KILLED)

    async def test_does_not_wait_for_strangers(self) -> None:
        """A process that left the group and holds the output does not delay the end."""
        run = self.run_python(
            "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)"
        )
        warnings = self.warnings()
        (stranger,) = map(int, await run.said())
        self.addCleanup(os.kill, stranger, signal.SIGKILL)
        began = LOOP.seconds()
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertLess(LOOP.seconds() - began, 2)
        self.assertTrue(is_alive(stranger))
        self.assertIn(str(stranger), " ".join(warnings))


class StopTests(ProcessCase):
    """Programs that are told to leave."""

    async def test_reaches_grandchildren(self) -> None:
        """SIGTERM goes to the whole group: a wrapper leaves nobody behind."""
        run = self.run_shell("sleep 1000 & sleep 1000 & jobs -p; echo up; wait")
        *children, _up = await run.said(3)
        run.child.stop(10)
        self.assertEqual(await run.exited, TERMINATED)
        self.assertEqual([is_alive(int(child)) for child in children], [False, False])

    async def test_waits_for_grandchildren(self) -> None:
        """The end is told when the last of the group is gone, not when its leader is."""
        run = self.run_python(
            "import os, signal, time\n"
            "if os.fork() == 0:\n"
            "    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(0)))\n"
            "    print('up', flush=True)\n"
            "signal.pause()\n"
        )
        await run.said()
        began = LOOP.seconds()
        run.child.stop(10)
        self.assertEqual(await run.exited, TERMINATED)
        self.assertGreater(LOOP.seconds() - began, 0.25)
        self.assertLess(LOOP.seconds() - began, 5)

    async def test_kills_after_the_grace(self) -> None:
        """Who ignores SIGTERM is killed when the grace is over, grandchildren included."""
        run = self.run_shell("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000")
        (left,) = await run.said()
        began = LOOP.seconds()
        run.child.stop(0.3)
        run.child.stop(10)
        self.assertEqual(await run.exited, KILLED)
        self.assertGreater(LOOP.seconds() - began, 0.29)
        self.assertLess(LOOP.seconds() - began, 2)
        self.assertFalse(is_alive(int(left)))

    async def test_kills_a_stubborn_grandchild(self) -> None:
        """The grace is for the whole group: a leader that leaves in time does not save a child that does not."""
        run = self.run_shell("sh -c \"trap '' TERM; echo up; sleep 1000; sleep 1000\" & wait")
        await run.said()
        run.child.stop(0.3)
        self.assertEqual(await run.exited, TERMINATED)

    async def test_kill(self) -> None:
        """A kill is heard at once, also by who has just been asked to leave, and once more is no harm."""
        run = self.run_shell("trap '' TERM; echo up; sleep 1000; sleep 1000")
        await run.said()
        run.child.stop(1000)
        run.child.kill()
        run.child.kill()
        self.assertEqual(await run.exited, KILLED)
        run.child.kill()
        run.child.stop(10)

    async def test_stop_at_once(self) -> None:
        """A stop before `setsid` took effect is heard, and nobody else's group is hit."""
        for _ in range(10):
            run = self.run_shell("sleep 1000")
            run.child.stop(10)
            self.assertEqual(await run.exited, TERMINATED)

    async def test_stops_after_its_end(self) -> None:
        """Stopping and killing what is gone signals nobody."""
        run = self.run_shell("exit 0")
        await run.exited
        signalled: list[int] = []
        self.patch(os, "kill", lambda pid, number: signalled.append(pid))
        run.child.stop(10)
        run.child.kill()
        self.assertEqual(signalled, [])


class TraceTests(ProcessCase):
    """What remains in this process: nothing."""

    async def test_timers(self) -> None:
        """No delayed call is left when the exit is told, however it came."""
        scripts: list[tuple[str, Callable[[LocalChild], object]]] = [
            ("exit 0", lambda child: None),
            ("sleep 1000", lambda child: child.stop(10)),
            ("sleep 1000", lambda child: child.kill()),
            ("sleep 1000", lambda child: (child.stop(10), child.kill())),
        ]
        for script, act in scripts:
            clock = Clock()
            run = self.run_shell(f"echo up; {script}", clock=clock)
            await run.said()
            act(run.child)
            keep_pace = LoopingCall(clock.advance, 0.01)
            keep_pace.start(0.01)
            await run.exited
            keep_pace.stop()
            self.assertEqual(clock.getDelayedCalls(), [], script)

    async def test_files_and_zombies(self) -> None:
        """Thirty starts and stops leave no open file, and no process to be waited for."""
        await self.run_shell("exit 0").exited
        before = open_files(os.getpid())
        for _ in range(10):
            runs = [self.run_shell("exec sleep 1000") for _ in range(3)]
            for run in runs:
                run.child.stop(10)
            self.assertEqual(await gatherResults([run.exited for run in runs]), [TERMINATED] * 3)
        self.assertEqual(open_files(os.getpid()), before)
        self.assertEqual(zombies(), [])
