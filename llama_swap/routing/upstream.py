"""One model as the router has it."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from llama_swap.config.model import ModelConfig
from llama_swap.routing.backoff import Backoff
from llama_swap.routing.idle import IdleTimer
from llama_swap.upstream.machine import Core, Process


@define(eq=False)
class Upstream:
    """One model's process, the timer that ends it when nobody uses it, and what is known of its failures."""

    core: Core
    process: Process
    idle: IdleTimer
    backoff: Backoff = field(factory=Backoff)
    awaiting_end: list[Deferred[None]] = field(factory=list)
    crashes: int = 0
    """How often it has ended by itself when it was ready."""
    awaiting_crash: list[Deferred[None]] = field(factory=list)
    deadline: IDelayedCall | None = None
    """When the last answers are cut of a process that is no longer configured."""

    @property
    def state(self) -> str:
        """See `Core.state`."""
        return self.core.state

    def crashed(self) -> None:
        """It has ended by itself when it was ready."""
        self.crashes += 1
        waiting, self.awaiting_crash = self.awaiting_crash, []
        for crash in waiting:
            if not crash.called:
                crash.callback(None)

    def adopt(self, model: ModelConfig) -> None:
        """Go on with another configuration, whose process would be the same."""
        self.core.model = model
        self.idle.set_ttl(model.ttl)

    def cancel_deadline(self) -> None:
        """The process is configured again, or gone."""
        if self.deadline is not None and self.deadline.active():
            self.deadline.cancel()
        self.deadline = None
