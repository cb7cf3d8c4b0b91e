"""One model as the router has it."""

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
"""Within so many seconds of a refused connection we hear of the end of the model that refused it."""


@frozen
class Mishap:
    """Why a model has stopped that nobody wanted to stop."""

    why: str
    at: float
    """In seconds of the clock."""


@define(eq=False)
class Upstream:
    """One model's process, the timer that ends it when nobody uses it, and what is known of its failures."""

    core: Core
    process: Process
    idle: IdleTimer
    backoff: Backoff = field(factory=Backoff)
    crashes: int = 0
    """How often it has ended by itself when it was ready."""
    ready_since: float = 0.0
    """When it became ready for the last time, in seconds of the clock."""
    mishap: Mishap | None = None
    """That of its last start, until the next."""
    deadline: IDelayedCall | None = None
    """When the last answers are cut of a process that is no longer configured."""
    _awaiting_crash: list[Deferred[None]] = field(factory=list, init=False)
    _awaiting_end: list[Deferred[None]] = field(factory=list, init=False)

    @property
    def state(self) -> str:
        """See `Core.state`."""
        return self.core.state

    def start(self) -> None:
        """Be ready, soon."""
        self.mishap = None
        self.process.start()

    def ready(self, now: float) -> None:
        """It is ready, and not used yet."""
        self.ready_since = now
        self.backoff.reset()
        self.idle.start()

    def failed(self, error: SwapError, now: float) -> None:
        """It will not become ready."""
        self.backoff.failed(error, now)
        self.mishap = Mishap(str(error), now)

    def crashed(self, status: ExitStatus, now: float) -> None:
        """It has ended by itself when it was ready."""
        self.idle.stop()
        self.mishap = Mishap(f"model {self.core.model.id} ended by itself with {status.unasked()}", now)
        self.crashes += 1
        while self._awaiting_crash:
            self._awaiting_crash[0].callback(None)

    def next_crash(self, clock: IReactorTime) -> Deferred[None]:
        """Return what fires when it crashes, or fails if nothing is heard of that within `CRASH_SHOWS`."""
        crash: Deferred[None] = Deferred()
        self._awaiting_crash.append(crash)

        def awaited_no_more(outcome: Failure | None) -> Failure | None:
            self._awaiting_crash.remove(crash)
            return outcome

        return crash.addBoth(awaited_no_more).addTimeout(CRASH_SHOWS, clock)

    def ended(self) -> None:
        """Nothing of its process is left."""
        waiting, self._awaiting_end = self._awaiting_end, []
        for end in waiting:
            end.callback(None)

    def end(self) -> Deferred[None]:
        """Return what fires when nothing of its process is left, which may be so already."""
        end: Deferred[None] = Deferred()
        if self.state == "stopped":
            end.callback(None)
        else:
            self._awaiting_end.append(end)
        return end

    def adopt(self, model: ModelConfig) -> None:
        """Go on with another configuration, whose process would be the same."""
        self.core.model = model
        self.idle.set_ttl(model.ttl)

    def cancel_deadline(self) -> None:
        """The process is configured again, or gone."""
        if self.deadline is not None and self.deadline.active():
            self.deadline.cancel()
        self.deadline = None
