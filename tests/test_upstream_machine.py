"""One model's process: what each event means in each state, and that every start has one end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import NotReadyInTime, StartFailed, SwapError
from llama_swap.upstream import machine
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.machine import Core, new_process
from tests.fakes import FakeChild, FakeLauncher, FakeListener, FakeReadiness, make_model

TAKEN = StartFailed("port 9001 is taken")
DONE = succeed(None)


class MachineCase(SynchronousTestCase):
    """A machine between fakes."""

    def setUp(self) -> None:
        self.launcher = FakeLauncher()
        self.readiness = FakeReadiness()
        self.listener = FakeListener()
        self.core = Core(make_model("m", unload_timeout=7), self.launcher, self.readiness, self.listener)
        self.process = new_process(self.core)

    @property
    def child(self) -> FakeChild:
        return self.launcher.child("m")

    def probe(self) -> Deferred[None]:
        """Return the question that the machine asks, or asked last, of its model's health."""
        return self.readiness.probing["m"]

    def start(self) -> None:
        """Be starting: launched, and not healthy yet."""
        self.process.start()
        self.assertEqual(self.core.state, "starting")

    def make_ready(self) -> None:
        """Be ready."""
        self.start()
        self.probe().callback(None)
        self.assertEqual(self.core.state, "ready")

    def occupy(self) -> Deferred[None]:
        """Be waiting for the address to become free."""
        self.readiness.occupied = True
        self.process.start()
        return self.readiness.clearing["m"]

    def failure(self) -> SwapError:
        """Return the one error that was told."""
        (error,) = (what[1] for what in self.listener.heard if isinstance(what, tuple))
        return error

    def events(self) -> list[str]:
        """Return what was told, by name."""
        return [what if isinstance(what, str) else what[0] for what in self.listener.heard]


class StartingTests(MachineCase):
    """From stopped to ready."""

    def test_comes_up(self) -> None:
        """Launched once the address is free, ready once healthy; nothing else is told."""
        clearing = self.occupy()
        self.assertEqual((self.core.state, self.launcher.children), ("starting", []))
        clearing.callback(None)
        self.assertEqual(self.launcher.launched(), ["m"])
        self.assertEqual((self.core.state, self.events()), ("starting", []))
        self.probe().callback(None)
        self.assertEqual((self.core.state, self.events()), ("ready", ["ready"]))

    def test_starts_once(self) -> None:
        """To start what is starting or ready is nothing."""
        clearing = self.occupy()
        self.process.start()
        clearing.callback(None)
        self.process.start()
        self.probe().callback(None)
        self.process.start()
        self.assertEqual((self.launcher.launched(), self.events()), (["m"], ["ready"]))

    def test_address_taken(self) -> None:
        """Nothing is launched where somebody else listens; the error is passed on."""
        self.occupy().errback(TAKEN)
        self.assertEqual(self.listener.heard, [("failed", TAKEN), "gone"])
        self.assertEqual((self.core.state, self.launcher.children), ("stopped", []))

    def test_cannot_be_launched(self) -> None:
        """The launcher's error is passed on; the model can be started again."""
        self.launcher.refusals["m"] = TAKEN
        self.process.start()
        self.assertEqual(self.listener.heard, [("failed", TAKEN), "gone"])
        self.assertEqual((self.core.state, self.readiness.probing), ("stopped", {}))
        del self.launcher.refusals["m"]
        self.make_ready()

    def test_launch_raises_anything(self) -> None:
        """An error that nobody thought of is logged and told, and does not leave the model starting for ever."""
        self.launcher.refusals["m"] = ZeroDivisionError("oh")
        self.process.start()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["failed", "gone"]))
        self.assertIsInstance(self.failure(), StartFailed)
        self.assertIn("oh", str(self.failure()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_question_fails_with_anything(self) -> None:
        """An unforeseen error of a probe is told as one of the model's start."""
        self.start()
        self.probe().errback(ZeroDivisionError("oh"))
        self.assertIsInstance(self.failure(), StartFailed)
        self.assertIn("oh", str(self.failure()))
        self.assertEqual(self.core.state, "stopping")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_healthy_in_time(self) -> None:
        """A process that does not become healthy is told at once, and then stopped."""
        self.start()
        late = NotReadyInTime("too late")
        self.probe().errback(late)
        self.assertEqual((self.core.state, self.listener.heard), ("stopping", [("failed", late)]))
        self.assertEqual(self.child.asked, [7])
        self.child.exit()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["failed", "gone"]))

    def test_not_healthy_and_loud(self) -> None:
        """What it printed often says why it is not healthy: on which port it listens, for one."""
        self.start()
        self.child.output = "listening on port 9002"
        self.probe().errback(NotReadyInTime("too late"))
        self.assertEqual(str(self.failure()), "too late; its last output was:\nlistening on port 9002")

    def test_dies_young(self) -> None:
        """A process that exits before it is ready ends the probing; the error has its status and last output."""
        self.start()
        self.child.output = "CUDA: out of memory"
        self.child.end(3)
        self.assertEqual((self.core.state, self.events()), ("stopping", ["failed"]))
        self.child.be_gone()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["failed", "gone"]))
        self.assertEqual(self.readiness.cancelled, ["m"])
        self.assertIsInstance(self.failure(), StartFailed)
        for part in ("model m", "exit status 3", "CUDA: out of memory"):
            self.assertIn(part, str(self.failure()))

    def test_dies_young_and_silent(self) -> None:
        """A signal is named, and so is that nothing was printed."""
        self.start()
        self.child.exit(None, 11)
        self.assertIn("signal 11 (SIGSEGV)", str(self.failure()))
        self.assertIn("it printed nothing", str(self.failure()))

    def test_leaves_its_server_alone(self) -> None:
        """Who ends without an error may have a server that goes on in the background, where it cannot be stopped."""
        self.start()
        self.child.exit(0)
        self.assertIn("exit status 0 before it was ready: `cmd` has to run for as long", str(self.failure()))

    def test_dies_for_want_of_a_shell(self) -> None:
        """What only a shell does is told before what was printed; files are not looked at, nor our directory told."""
        self.core.model = make_model("m", cmd=("x", "-m", "/no/x.gguf", "|", "tee"))
        self.start()
        self.child.exit(1)
        told = str(self.failure())
        self.assertIn("before it was ready; no shell runs this, so nobody acts on |: write bash -c", told)
        self.assertTrue(told.endswith("; it printed nothing"), told)
        self.assertNotIn("gguf", told)

    def test_dies_where_no_directory_is(self) -> None:
        """A failure is told also when the directory that we run in has been removed."""
        self.core.model = make_model("m", cmd=("x", "-m", "x.gguf"))
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(directory)
        directory.rmdir()
        self.start()
        self.child.exit(1)
        self.assertEqual((self.core.state, self.events()), ("stopped", ["failed", "gone"]))

    def test_dies_without_hints(self) -> None:
        """A failure is told also when there is something wrong with its hints."""
        self.patch(machine, "wishes", lambda words: 1 / 0)
        self.start()
        self.child.exit(1)
        self.assertEqual((self.core.state, self.events()), ("stopped", ["failed", "gone"]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_stranger_answers(self) -> None:
        """An answer does not count when our own process is dead already: its exit is about to be heard."""
        self.start()
        self.child.lives = False
        self.probe().callback(None)
        self.assertEqual((self.core.state, self.events()), ("starting", []))
        self.child.exit(1)
        self.assertEqual(self.events(), ["failed", "gone"])


class StoppingTests(MachineCase):
    """From every state to stopped."""

    def test_while_stopped(self) -> None:
        """To stop what is stopped is nothing: no second end is told."""
        self.process.stop()
        self.assertEqual((self.core.state, self.events()), ("stopped", []))

    def test_while_the_address_is_awaited(self) -> None:
        """The wait ends, nothing is launched, and that is no failure."""
        self.occupy()
        self.process.stop()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["gone"]))
        self.assertEqual((self.readiness.cancelled, self.launcher.children), (["m"], []))

    def test_while_starting(self) -> None:
        """Probing ends, the process has its grace, and that is no failure."""
        self.start()
        self.process.stop()
        self.assertEqual((self.core.state, self.readiness.cancelled), ("stopping", ["m"]))
        self.assertEqual(self.child.asked, [7])
        self.child.end(None, 15)
        self.assertEqual(self.core.state, "stopping")
        self.child.be_gone()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["gone"]))

    def test_while_ready(self) -> None:
        """The process has its grace; its end is told when nothing is left."""
        self.make_ready()
        self.process.stop()
        self.process.stop()
        self.assertEqual((self.core.state, self.child.asked), ("stopping", [7]))
        self.assertEqual(self.events(), ["ready"])
        self.child.exit()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["ready", "gone"]))
        self.assertIsNone(self.core.child)

    def test_crash(self) -> None:
        """A ready process that ends by itself is of no more use at once, and can be started again once it is gone."""
        self.make_ready()
        self.child.end(1)
        self.assertEqual((self.core.state, self.events()), ("stopping", ["ready", "ending"]))
        self.process.stop()
        self.assertEqual(self.child.asked, [])
        self.child.be_gone()
        self.assertEqual((self.core.state, self.events()), ("stopped", ["ready", "ending", "gone"]))
        self.make_ready()
        self.assertEqual(self.launcher.launched(), ["m", "m"])

    def test_starts_anew_with_new_questions(self) -> None:
        """A second start asks again; nothing of the first is left to be mistaken for it."""
        self.start()
        first = self.probe()
        self.process.stop()
        self.child.exit()
        self.start()
        self.assertIsNot(self.probe(), first)
        self.assertEqual(self.events(), ["gone"])


class LogTests(MachineCase):
    """What is logged: what happened, in this order."""

    def logged(self, happen: Callable[[], object]) -> list[str]:
        """Return the lines that are logged while something happens, each up to its first `;`."""
        with capturedLogs() as events:
            happen()
        return [formatEvent(event).partition(";")[0] for event in events]

    def test_dies_young(self) -> None:
        """Nobody stops what ended by itself."""
        self.start()
        told = ["model m ended with exit status 3 before it was ready", "m: stopped"]
        self.assertEqual(self.logged(lambda: self.child.exit(3)), told)

    def test_killed(self) -> None:
        """Where SIGKILL was not ours, memory may be why; a shell around the server passes it on in its status."""
        for status, told in (
            (ExitStatus(signal=9), "signal 9 (SIGKILL, perhaps for want of memory: see dmesg)"),
            (ExitStatus(code=137), "exit status 137 (SIGKILL, perhaps for want of memory: see dmesg)"),
            (ExitStatus(signal=6), "signal 6 (SIGABRT)"),
        ):
            self.assertEqual(status.unasked(), told)

    def test_crash(self) -> None:
        """The same, of one that was ready."""
        self.make_ready()
        told = ["m ended by itself with exit status 3", "m: stopped"]
        self.assertEqual(self.logged(lambda: self.child.exit(3)), told)

    def test_not_healthy_in_time(self) -> None:
        """The reason stands before what is done about it."""
        self.start()
        self.assertEqual(
            self.logged(lambda: self.probe().errback(NotReadyInTime("too late"))), ["too late", "m: stopping"]
        )

    def test_address_taken(self) -> None:
        """A start that is none; a line of a log is one line."""
        address = self.occupy()
        told = ["port 9001 | is taken", "m: stopped"]
        self.assertEqual(self.logged(lambda: address.errback(StartFailed("port 9001\nis taken"))), told)


class ReentrancyTests(MachineCase):
    """Events that arrive while another is being told."""

    def test_stop_on_ready(self) -> None:
        """Who hears that it is ready may stop it at once."""
        self.listener.reactions["ready"] = self.process.stop
        self.start()
        self.probe().callback(None)
        self.assertEqual((self.core.state, self.child.asked), ("stopping", [7]))

    def test_start_on_gone(self) -> None:
        """Who hears that it is gone may start it at once; the new process is another one."""
        self.make_ready()
        self.listener.reactions["gone"] = self.process.start
        self.child.exit()
        self.assertEqual((self.core.state, self.launcher.launched()), ("starting", ["m", "m"]))

    def test_stop_on_failed(self) -> None:
        """Who hears that it failed may stop it: that is under way already."""
        self.listener.reactions["failed"] = self.process.stop
        self.start()
        self.probe().errback(NotReadyInTime("too late"))
        self.assertEqual((self.core.state, self.child.asked), ("stopping", [7]))
        self.child.exit()
        self.assertEqual(self.events(), ["failed", "gone"])

    def test_exit_while_being_stopped(self) -> None:
        """A child may be gone before `stop` returns."""
        self.make_ready()
        child = self.child
        self.patch(FakeChild, "stop", lambda self, grace: self.exit())
        self.process.stop()
        self.assertTrue(child.gone)
        self.assertEqual((self.core.state, self.events()), ("stopped", ["ready", "gone"]))

    def test_start_over_and_over(self) -> None:
        """A model that cannot be launched, wanted again by who hears of it, is refused each time."""
        self.launcher.refusals["m"] = TAKEN
        again = [self.process.start, self.process.start]
        self.listener.reactions["gone"] = lambda: again and again.pop()()
        self.process.start()
        self.assertEqual(self.events(), ["failed", "gone"] * 3)
        self.assertEqual(self.core.state, "stopped")


HAPPENINGS = ["start", "stop", "free", "taken", "healthy", "late", "end", "exit", "dead", "refused"]


class LawTests(SynchronousTestCase):
    """What holds for any history."""

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.sampled_from(HAPPENINGS)))
    def test_every_start_ends_once(self, events: list[str]) -> None:
        """Each start that leads out of stopped has one `gone`, after at most one of `ready` and `failed`.

        `ending` comes only after `ready`.
        """
        case = MachineCase()
        case.setUp()
        case.readiness.occupied = True
        starts = 0
        for event in [*events, "stop", "exit"]:
            starts += event == "start" and case.core.state == "stopped"
            _happen(case, event)
        self.assertEqual(case.core.state, "stopped")
        self.assertEqual(case.events().count("gone"), starts)
        for life in " ".join(case.events()).split("gone"):
            self.assertIn(life.split(), ([], ["ready"], ["ready", "ending"], ["failed"]))
        self.assertTrue(all(child.gone for child in case.launcher.children))


def _happen(case: MachineCase, event: str) -> None:
    """Let something happen, if it can."""
    clearing = case.readiness.clearing.get("m", DONE)
    probing = case.readiness.probing.get("m", DONE)
    match event:
        case "start" if case.core.state != "stopping":
            case.process.start()
        case "stop":
            case.process.stop()
        case "free" if not clearing.called:
            clearing.callback(None)
        case "taken" if not clearing.called:
            clearing.errback(TAKEN)
        case "healthy" if not probing.called:
            probing.callback(None)
        case "late" if not probing.called:
            probing.errback(NotReadyInTime("too late"))
        case "end" if case.core.child is not None and not case.child.ended:
            case.child.end()
        case "exit" if case.core.child is not None:
            case.child.exit()
        case "dead" if case.core.child is not None:
            case.child.lives = False
        case "refused":
            case.launcher.refusals["m"] = TAKEN
