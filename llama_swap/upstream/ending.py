"""Ends a model's processes: asks them to leave, waits, and kills them if they do not."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from llama_swap.upstream.group import ProcessGroup, signal_all
from llama_swap.upstream.stop_command import StopCommand

POLL = 0.02
"""Seconds between looks at processes whose exit is not reported to us, since they are not our children."""
LEFTOVER_GRACE = 1.0
"""Seconds from SIGTERM to SIGKILL for what is left of a model after its leader left unasked or `cmdStop` failed."""
KILLED_PATIENCE = 15.0
"""Seconds to wait after SIGKILL: the kernel may need some to free a large process, and may never end a stuck one."""


@define(eq=False)
class Ending:
    """The end of one model.  `over` is called once: when no process is left, or nothing more can be done.

    The model is asked to leave by `cmdStop`, if it has one, else by SIGTERM.  Processes that have left its group are
    asked once the group is gone: until then it may need them, such as a container's network.
    """

    _clock: IReactorTime
    _model: str
    _group: ProcessGroup
    _stop_command: StopCommand | None
    _stop_command_grace: float
    """Seconds for `cmdStop` where the leader has left unasked."""
    _over: Callable[[], None]
    _begun: bool = field(default=False, init=False)
    _asking: bool = field(default=False, init=False)
    """Whether `cmdStop` runs."""
    _terminated: bool = field(default=False, init=False)
    _killed: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)
    _strays: set[int] = field(factory=set, init=False)
    _next_step: IDelayedCall | None = field(default=None, init=False)
    _next_look: IDelayedCall | None = field(default=None, init=False)

    _log: ClassVar[Logger] = Logger()

    def begin(self, grace: float) -> None:
        """Ask the model to leave; after `grace` seconds it is killed.  Only the first call counts."""
        if self._begun:
            return
        self._begun = True
        if self._stop_command is None:
            self._later(grace, self.kill)
            self._terminate()
        else:
            self._later(grace, self._insist)
            self._asking = True
            self._stop_command.run(self._group.leader).addCallback(self._asked)

    def leader_left(self) -> None:
        """The leader of the group has exited, asked or not."""
        self._group.leader_lives = False
        if not self._begun:
            self.begin(LEFTOVER_GRACE if self._stop_command is None else self._stop_command_grace)
        elif not self._asking:
            self._terminate()
        self._look()

    def kill(self) -> None:
        """Kill all of its processes now."""
        if self._killed or self._is_over:
            return
        self._begun = self._killed = True
        self._log.warn("{model} did not leave when asked: killed", model=self._model)
        self._later(KILLED_PATIENCE, self._give_up)
        self._end_stop_command()
        self._group.signal(signal.SIGKILL)
        signal_all(self._strays, signal.SIGKILL)

    def _asked(self, succeeded: bool) -> None:
        """`cmdStop` has ended.  If it failed, or processes are left, signals follow."""
        self._asking = False
        if not succeeded or not self._group.leader_lives:
            self._terminate()
        self._look()

    def _insist(self) -> None:
        """`cmdStop` has taken too long."""
        self._log.warn("{model} is still there in spite of cmdStop: SIGTERM", model=self._model)
        self._later(LEFTOVER_GRACE, self.kill)
        self._end_stop_command()
        self._terminate()

    def _terminate(self) -> None:
        """Send SIGTERM, once: at a second one, many servers drop what they are finishing."""
        if not self._terminated:
            self._terminated = True
            self._group.signal(signal.SIGTERM)

    def _end_stop_command(self) -> None:
        if self._asking and self._stop_command is not None:
            self._stop_command.kill()

    def _look(self) -> None:
        """End if no process is left, else look again.  Only exits of the leader and of `cmdStop` are reported to us."""
        if self._asking or self._group.leader_lives or self._is_over:
            return
        call_off(self._next_look)
        if self._anybody_runs():
            self._next_look = self._clock.callLater(POLL, self._look)
        else:
            self._finish()

    def _anybody_runs(self) -> bool:
        try:
            return self._group.runs() or self._strays_run()
        except OSError:  # no file descriptor to look with: they may still be there
            return True

    def _strays_run(self) -> bool:
        strays = self._group.strays(among=self._strays)
        if found := strays - self._strays:
            pids = ", ".join(map(str, sorted(found)))
            self._log.warn("{model} has left processes outside its group: pid {pids}", model=self._model, pids=pids)
            signal_all(found, signal.SIGKILL if self._killed else signal.SIGTERM)
        self._strays = strays
        return bool(strays)

    def _give_up(self) -> None:
        """SIGKILL did not help: the process is stuck in the kernel, or runs as another user."""
        self._log.error("{model} cannot be ended: it goes on, although killed", model=self._model)
        self._finish()

    def _finish(self) -> None:
        self._is_over = True
        call_off(self._next_step)
        call_off(self._next_look)
        self._over()

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        call_off(self._next_step)
        self._next_step = self._clock.callLater(seconds, step)


def call_off(call: IDelayedCall | None) -> None:
    """Cancel a call unless it is over already."""
    if call is not None and call.active():
        call.cancel()
