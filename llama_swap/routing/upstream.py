"""One model as the router has it."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from llama_swap.config.model import ModelConfig
from llama_swap.routing.backoff import Backoff
from llama_swap.routing.idle import IdleTimer
from llama_swap.upstream.machine import Core, Process

CRASH_SHOWS = 1.0
"""Within so many seconds of a refused connection we hear of the end of the model that refused it."""


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
    deadline: IDelayedCall | None = None
    """When the last answers are cut of a process that is no longer configured."""
    _awaiting_crash: list[Deferred[None]] = field(factory=list, init=False)
    _awaiting_end: list[Deferred[None]] = field(factory=list, init=False)

    @property
    def state(self) -> str:
        """See `Core.state`."""
        return self.core.state

    def crashed(self) -> None:
        """It has ended by itself when it was ready."""
        self.crashes += 1
        waiting, self._awaiting_crash = self._awaiting_crash, []
        for crash in waiting:
            if not crash.called:
                crash.callback(None)

    def next_crash(self, clock: IReactorTime) -> Deferred[None]:
        """Return what fires when it crashes, or fails if nothing is heard of that within `CRASH_SHOWS`."""
        crash: Deferred[None] = Deferred()
        self._awaiting_crash.append(crash)
        return crash.addTimeout(CRASH_SHOWS, clock)

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
