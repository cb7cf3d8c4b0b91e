"""One model, as the router sees it."""

from __future__ import annotations

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from llama_swap.config.model import ModelConfig
from llama_swap.errors import SwapError
from llama_swap.routing.backoff import Backoff
from llama_swap.routing.idle import IdleTimer
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.machine import Core, Process

CRASH_SHOWS = 1.0
"""Seconds after a refused connection within which the end of the model's process is reported, if it has crashed."""


@frozen
class Mishap:
    """A failed start or a crash of a model."""

    why: str
    at: float
    """In seconds of the clock."""


@define(eq=False)
class Upstream:
    """One model's process, its idle timer, and its failures."""

    core: Core
    process: Process
    idle: IdleTimer
    backoff: Backoff = field(factory=Backoff)
    crashes: int = 0
    """How often it has ended by itself while it was ready."""
    ready_since: float = 0.0
    """When it last became ready, in seconds of the clock."""
    mishap: Mishap | None = None
    """The failure of its last start, until the next one."""
    deadline: IDelayedCall | None = None
    """When the last answers of a process that is no longer configured are cut."""
    _awaiting_crash: list[Deferred[None]] = field(factory=list, init=False)
    _awaiting_end: list[Deferred[None]] = field(factory=list, init=False)

    @property
    def state(self) -> str:
        """See `Core.state`."""
        return self.core.state

    def start(self) -> None:
        """Start the process."""
        self.mishap = None
        self.process.start()

    def stop(self) -> None:
        """Stop the process."""
        self._cancel_timers()
        self.process.stop()

    def ready(self, now: float) -> None:
        """It has become ready, and is not in use yet."""
        self.ready_since = now
        self.backoff.reset()
        self.idle.start()

    def failed(self, error: SwapError, now: float) -> None:
        """It will not become ready."""
        self.backoff.failed(error, now)
        self.mishap = Mishap(str(error), now)

    def crashed(self, status: ExitStatus, now: float) -> None:
        """It has ended by itself while it was ready."""
        self._cancel_timers()
        self.mishap = Mishap(f"model {self.core.model.id} ended by itself with {status.unasked()}", now)
        self.crashes += 1
        while self._awaiting_crash:
            self._awaiting_crash[0].callback(None)

    def next_crash(self, clock: IReactorTime) -> Deferred[None]:
        """Fire when it crashes; fail if that does not happen within `CRASH_SHOWS` seconds."""
        crash: Deferred[None] = Deferred()
        self._awaiting_crash.append(crash)

        def awaited_no_more(outcome: Failure | None) -> Failure | None:
            self._awaiting_crash.remove(crash)
            return outcome

        return crash.addBoth(awaited_no_more).addTimeout(CRASH_SHOWS, clock)

    def ended(self) -> None:
        """None of its processes is left."""
        waiting, self._awaiting_end = self._awaiting_end, []
        for end in waiting:
            end.callback(None)

    def end(self) -> Deferred[None]:
        """Return what fires when none of its processes is left; at once if that is so already."""
        end: Deferred[None] = Deferred()
        if self.state == "stopped":
            end.callback(None)
        else:
            self._awaiting_end.append(end)
        return end

    def adopt(self, model: ModelConfig) -> None:
        """Go on with another configuration that needs no other process."""
        self.core.model = model
        self.idle.set_ttl(model.ttl)

    def cancel_deadline(self) -> None:
        """The process is configured again, or leaves."""
        if self.deadline is not None and self.deadline.active():
            self.deadline.cancel()
        self.deadline = None

    def _cancel_timers(self) -> None:
        """The process leaves: it needs no timer any more to tell it to."""
        self.idle.stop()
        self.cancel_deadline()
