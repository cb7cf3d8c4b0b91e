"""The scheduler's inputs and its commands: frozen values, no effects."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field, frozen

from llama_swap.errors import SwapError


@frozen(cache_hash=True)
class Target:
    """A resolved name: a model, and the list profile that it was requested through, if any."""

    model: str
    profile: str | None = None
    if_cold: str | None = None
    """If set, the request starts and stops nothing; this is why it is refused where its model does not run."""


@define(eq=False)
class Ticket:
    """One request that waits for, or is served by, a model.  Compared by identity."""

    target: Target
    arrived: float
    """Seconds on the caller's clock; only differences matter."""
    model: str = field(init=False)
    """Which is to serve this ticket."""

    @model.default
    def _(self) -> str:
        return self.target.model


@frozen
class Serve:
    """The ticket's model is ready: let the request through.  Answered, once, by `FIFOScheduler.released`."""

    ticket: Ticket


@frozen
class Reject:
    """The ticket will not be served."""

    ticket: Ticket
    error: SwapError


@frozen
class Stop:
    """Stop the model's process; answered by `FIFOScheduler.stopped` when it is gone.

    `successor` is the model that waits for its place, so that preparing it can begin meanwhile.
    """

    model: str
    successor: str | None = None


@frozen
class Start:
    """Start the model now: all that had to be gone is gone.  Answered by `ready` or by `failed`."""

    model: str


@frozen
class Drop:
    """The model, for which others were stopping, will not be started any more."""

    model: str


Command = Serve | Reject | Stop | Start | Drop


@frozen
class Plan:
    """What a policy requires in order to serve a target."""

    evict: frozenset[str] = field(factory=frozenset)
    """Running models that must be gone before anything new starts."""
    alongside: tuple[str, ...] = ()
    """Models to start side by side with the target, unless they run already."""


class Policy(Protocol):
    """Which models may share the machine."""

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """Return what must stop and start to serve `target` while the models `running` are alive.

        `running` may contain the target itself, and models that are no longer configured.
        Pure, without logging, since it is called often.
        """
