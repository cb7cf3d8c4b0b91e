"""Models as process groups: how they leave, by themselves and when they are told."""

from __future__ import annotations

import os
import resource
import shlex
import signal
from pathlib import Path

from twisted.internet.task import Clock, deferLater

from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.upstream import ending, group, process
from llama_swap.upstream.ending import KILLED_PATIENCE, LEFTOVER_GRACE
from llama_swap.upstream.group import ProcessGroup
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.output import Output
from llama_swap.upstream.spawning import OUTPUT_PATIENCE
from tests.support_processes import is_alive, wait_until
from tests.support_upstream import KILLED, LOOP, TERMINATED, ProcessCase, adopt_orphans


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

    def test_last_output_of_two_streams(self) -> None:
        """An unfinished line of one stream does not run into what the other one says."""
        output = Output("m", Broadcaster())
        for stream, text in [(1, b"one"), (2, b"two"), (1, b"thr"), (1, b"ee"), (2, b"\n"), (1, b"four")]:
            output.write(stream, text)
        self.assertEqual(output.last().split(), ["one", "two", "three", "four"])

    async def test_last_output_without_an_end(self) -> None:
        """Of a line without an end the last part is told."""
        run = self.run_shell("head -c 100000 /dev/zero | tr '\\0' x; exit 1")
        await run.exited
        self.assertEqual(set(run.child.last_output()), {"x"})

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
        run.child.stop(1000)
        self.assertEqual(await run.exited, TERMINATED)
        self.assertEqual(os.waitpid(orphan, os.WNOHANG)[0], orphan)

    async def test_does_not_wait_for_ever(self) -> None:
        """A group that the kernel cannot end, though it was killed, is given up after a while."""
        self.patch(group, "_runs_in", lambda group, pid: True)
        self.patch(ending, "KILLED_PATIENCE", 0.3)
        run = self.run_shell("trap '' TERM; echo up; sleep 1000 & wait; exit 5")
        await run.said()
        os.kill(run.child.pid, signal.SIGKILL)
        run.child.stop(0.1)
        self.assertEqual(await run.exited, KILLED)

    async def test_waits_for_descriptors(self) -> None:
        """Where none is left to look with, nobody is taken for gone, and a later look can tell."""
        run = self.run_shell("sh -c 'trap \"\" TERM; echo $$; sleep 1000; sleep 1000' & exec sleep 1000")
        (stubborn,) = await run.said()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        run.child.stop(0.3)
        while run.child.alive():
            await deferLater(LOOP, 0.001)
        await deferLater(LOOP, 0.1)
        self.assertFalse(run.is_gone)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await run.exited
        self.assertFalse(is_alive(int(stubborn)))

    async def test_does_not_wait_for_strangers(self) -> None:
        """A process that left the group, without its mark, and holds the output does not delay the end."""
        run = self.run_python(
            "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True, env={}).pid)"
        )
        warnings = self.warnings()
        (stranger,) = map(int, await run.said())
        self.addCleanup(os.kill, stranger, signal.SIGKILL)
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertTrue(is_alive(stranger))
        self.assertIn(str(stranger), " ".join(warnings))

    async def test_closes_output_whoever_holds_it(self) -> None:
        """Nor does it do so where who that is cannot be found out."""
        self.patch(process, "writers_to", lambda _pipes: 1 / 0)
        run = self.run_python(
            "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True, env={}).pid)"
        )
        (stranger,) = map(int, await run.said())
        self.addCleanup(os.kill, stranger, signal.SIGKILL)
        await run.exited
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_takes_strays_along(self) -> None:
        """Who has left the group is known by the mark, and named; its model is gone when it is gone."""
        run = self.run_python(
            "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)"
        )
        warnings = self.warnings()
        (stray,) = await run.said()
        await run.exited
        self.assertFalse(is_alive(int(stray)))
        self.assertIn(stray, " ".join(warnings))

    async def test_takes_stubborn_strays_along(self) -> None:
        """They have the same grace as the group."""
        stubborn = "trap '' TERM; echo $$; sleep 1000; sleep 1000"
        run = self.run_shell(f"echo up; setsid sh -c {shlex.quote(stubborn)} & exec sleep 1000")
        _up, stray = await run.said(2)
        began = LOOP.seconds()
        run.child.stop(0.5)
        await run.exited
        self.assertFalse(is_alive(int(stray)))
        self.assertGreater(LOOP.seconds() - began, 0.4)

    async def test_leaves_strays_of_others_alone(self) -> None:
        """The mark tells one model from another."""
        other = self.run_shell("exec sleep 1000")
        run = self.run_shell("exit 0")
        await run.exited
        self.assertTrue(other.child.alive())
        other.child.stop(10)
        await other.exited

    async def test_cannot_be_ended(self) -> None:
        """A leader whose exit never comes, though it was killed, is given up after a while, and said to be there."""
        clock = Clock()
        run = self.run_shell("exec sleep 1000", clock=clock)
        self.patch(ProcessGroup, "signal", lambda self, number: True)
        logged = self.warnings()
        run.child.stop(1)
        clock.advance(1)
        clock.advance(KILLED_PATIENCE)
        clock.advance(OUTPUT_PATIENCE)
        self.assertTrue(run.is_gone)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertIn("cannot be ended", " ".join(logged))
        os.kill(run.child.pid, signal.SIGKILL)
        while Path(f"/proc/{run.child.pid}").exists():  # until its exit is collected
            await deferLater(LOOP, 0.001)
        self.assertFalse(run.ended.called)
        self.assertEqual(clock.getDelayedCalls(), [])


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

    async def test_kills_after_the_grace(self) -> None:
        """Who ignores SIGTERM is killed when the grace is over, grandchildren included."""
        run = self.run_shell("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000")
        (left,) = await run.said()
        began = LOOP.seconds()
        run.child.stop(0.3)
        run.child.stop(10)
        self.assertEqual(await run.exited, KILLED)
        self.assertGreater(LOOP.seconds() - began, 0.29)
        self.assertLess(LOOP.seconds() - began, 10)
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
