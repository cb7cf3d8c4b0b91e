"""Processes as they are played: what they are, how they will behave, and what Twisted would tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from tests.chaos.system import System

STUCK = 60.0
"""Seconds for which the kernel may be stuck with a process that was killed."""


@define(eq=False)
class Process:
    """One process, and how it will behave."""

    pid: int
    group: int
    mark: str
    model: str = ""
    """Of leaders: whose server it is."""
    port: int = 0
    leaves_after: float | None = 0.0
    """Seconds from SIGTERM to its exit; None: it ignores that."""
    killable: float = 0.0
    """Seconds from SIGKILL to its exit."""
    healthy_from: float = 0.0
    """When its health check is answered with 200, on the clock."""
    listens_from: float = 0.0
    hangs_until: float = 0.0
    """Until then its health check is not answered at all."""
    transport: Transport | None = None
    """Of leaders: what we have of it."""
    holds_output: bool = False
    brood: list[Process] = field(factory=list)
    """What it leaves behind."""
    parent: Process | None = None
    alive: bool = True
    signals: list[int] = field(factory=list)

    @property
    def server(self) -> Process:
        """The server that it is, or that has left it behind."""
        return self.parent or self

    @property
    def is_ours(self) -> bool:
        """Whether it lives, and can be known as part of a model."""
        return self.alive and bool(self.server.model) and (self.group == self.server.group or bool(self.mark))

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits any more for it, or for somebody whom it left behind."""
        return any(each.alive and each.killable == STUCK for each in (self, *self.brood))

    @property
    def is_stuck(self) -> bool:
        """Whether not even SIGKILL ends it soon."""
        return self.alive and self.killable == STUCK


@define(eq=False)
class Transport:
    """What Twisted would hand to the protocol of a process."""

    system: System
    process: Process
    protocol: ProcessProtocol
    pid: int | None
    pipes: Mapping[int, Any] = field(factory=dict)
    reaped: bool = False
    output_closed: bool = False
    ended: bool = False
    status: tuple[int | None, int | None] = (0, None)

    def closeStdin(self) -> None:
        """Nobody types."""

    def loseConnection(self) -> None:
        """Close our end of the pipes."""
        self.output_closed = True
        self.system.clock.callLater(0, self.look)

    def reap(self) -> None:
        """The reactor collects the exit."""
        self.reaped = True
        self.pid = None
        del self.system.processes[self.process.pid]
        self.protocol.processExited(self.reason())
        self.look()

    def look(self) -> None:
        """Tell of the end once the exit was collected and nobody holds the pipes."""
        held = any(each.alive and each.holds_output for each in self.process.brood) and not self.output_closed
        if self.reaped and not held and not self.ended:
            self.ended = True
            self.protocol.processEnded(self.reason())

    def reason(self) -> Failure:
        """How it ended, in Twisted's words."""
        code, number = self.status
        return Failure(ProcessDone(0) if (code, number) == (0, None) else ProcessTerminated(code, number, 1))
