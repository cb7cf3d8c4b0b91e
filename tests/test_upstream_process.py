"""Models as process groups: what a program finds when it starts, and what remains here when it is gone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from llama_swap.errors import StartFailed
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.process import LocalChild
from tests.support_processes import open_files
from tests.support_upstream import TERMINATED, ProcessCase


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
            'echo "$ONE-$TWO-$THREE-$NOTIFY_SOCKET-$LLAMA_SWAP_PROXY"',
            environ={"ONE": "1", "TWO": "old", "NOTIFY_SOCKET": "/run/notify", "PATH": os.defpath},
            env={"TWO": "new", "THREE": "3"},
        )
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertEqual(run.child.last_output(), f"1-new-3--fake-{os.getpid()}.0")

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

    async def test_secrets(self) -> None:
        """A variable with a secret in it is not inherited; the model's own `env` is what it is."""
        environ = {"PATH": os.environ["PATH"], "KEY": "sk-1", "SHOWN": "sk-12", "OTHER": "sk-2"}
        run = self.run_shell("env", environ=environ, secrets=("sk-1", "sk-2"), env={"OWN": "sk-2"})
        await run.exited
        for line, inherited in (("KEY=", False), ("SHOWN=sk-12", True), ("OTHER=", False), ("OWN=sk-2", True)):
            self.assertEqual(f"\n{line}" in f"\n{run.child.last_output()}", inherited, line)

    async def test_guard(self) -> None:
        """The guard knows the group as long as it is there."""
        run = self.run_shell("exec sleep 1000")
        self.assertEqual((self.guard.watched, self.guard.forgotten), ([run.child.pid], []))
        run.child.stop(10)
        await run.exited
        self.assertEqual(self.guard.forgotten, [run.child.pid])

    async def test_searches_the_path_of_the_model(self) -> None:
        """A program is found by the `PATH` that it will have as well, though `setsid` is not on that."""
        directory = Path(self.mktemp())
        directory.mkdir()
        program = directory / "my-server"
        program.write_text("#!/bin/sh\necho mine\n")
        program.chmod(0o755)
        run = self.run_program("my-server", env={"PATH": str(directory)})
        self.assertEqual(await run.exited, ExitStatus(code=0))
        self.assertEqual(run.child.last_output(), "mine")
        (directory / "true").symlink_to("/bin/false")
        for there in (directory, Path("/nowhere")):
            ours = self.run_program("true", env={"PATH": str(there)})
            self.assertEqual(await ours.exited, ExitStatus(code=0))


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

    def test_meant_for_a_shell(self) -> None:
        """A command that only a shell could run is told that, and not what to install."""
        for cmd, part in (
            (("A=1", "true"), "nobody sets A=…: put that under `env:` (models.m.cmd)"),
            (("cd", "/", "&&", "true"), 'nobody acts on cd: write bash -c "… exec …"'),
            (("~/x",), "nobody replaces ~"),
        ):
            self.assertIn(part, self.refused(*cmd))

    def test_no_command(self) -> None:
        """A model without a command may be in the file, but not be started."""
        self.assertIn("no command (models.m.cmd)", self.refused())

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


def zombies() -> list[str]:
    """Return our children that were not waited for."""
    states = [
        path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()
    ]
    return [state for state, parent, *_ in states if parent == str(os.getpid()) and state == "Z"]


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
            await self.exited_by(clock, run)
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
