"""Real programs, launched as models are, for tests with the real reactor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, LoopingCall
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.process import LocalChild, LocalLauncher
from tests.fakes import FakeGuard, make_model

LOOP: Any = reactor
TERMINATED = ExitStatus(signal=signal.SIGTERM)
KILLED = ExitStatus(signal=signal.SIGKILL)


@define(eq=False)
class Run:
    """One launched program."""

    logs: Broadcaster
    child: LocalChild = field(init=False)
    ended: Deferred[ExitStatus] = field(factory=Deferred)
    """Fires with how the program itself ended."""
    exited: Deferred[ExitStatus] = field(factory=Deferred)
    """The same, when all of it is gone."""

    is_gone: bool = False

    def gone(self) -> None:
        """All of it is gone; `exited` fires, unless the program itself could not be ended."""
        self.is_gone = True
        self.ended.addCallback(self._exit)

    def _exit(self, status: ExitStatus) -> ExitStatus:
        self.exited.callback(status)
        return status

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

    async def exited_by(self, clock: Clock, run: Run) -> None:
        """Let `clock` keep pace with the real one until all of a program is gone."""
        keep_pace = LoopingCall(clock.advance, 0.01)
        keep_pace.start(0.01)
        await run.exited
        keep_pace.stop()

    def run_program(
        self,
        *cmd: str,
        clock: Any = LOOP,
        logs: Broadcaster | None = None,
        environ: dict[str, str] | None = None,
        secrets: Collection[str] = (),
        **model: Any,
    ) -> Run:
        """Launch `cmd`; `model` goes into the fields of the model."""
        run = Run(logs or Broadcaster())
        inherited = os.environ if environ is None else environ
        launcher = LocalLauncher(LOOP, clock, run.logs, self.guard, inherited, secrets=secrets)
        run.child = launcher.launch(make_model("m", cmd=cmd, **model), run.ended.callback, run.gone)
        self.addCleanup(kill_group, run.child.pid)
        return run

    def warnings(self) -> list[str]:
        """Return the warnings that are logged from now on."""
        logged: list[str] = []

        def note(event: dict[str, Any]) -> None:
            if event["log_level"] in (LogLevel.warn, LogLevel.error):
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
