"""Clients of a router, who do as `llama_swap.web.forwarding` does, but stay, leave and break as the dice say."""

from __future__ import annotations

import random
from collections import Counter
from typing import Protocol

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from llama_swap.errors import NobodyListens, SwapError
from llama_swap.routing.lease import Lease
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target
from tests.chaos.processes import Process


class Around(Protocol):
    """What clients know of the world."""

    clock: IReactorTime
    dice: random.Random
    router: Router
    clients: list[Client]
    outcomes: Counter[str]

    def granted(self, client: Client, lease: Lease) -> Process | None:
        """Judge a lease; return the server that it is for, if that still lives."""

    def refused(self, client: Client, error: SwapError) -> None:
        """Judge a refusal."""

    def broken(self, failure: Failure) -> None:
        """Something went wrong where nobody would hear of it."""


@define(eq=False)
class Client:
    """One request, from its arrival to its end."""

    world: Around
    target: Target
    takes: float
    """Seconds that its answer takes; 0: it is over while it is being granted."""
    asked_at: float = 0.0
    waiting: Deferred[Lease] | None = None
    lease: Lease | None = None
    server: Process | None = None
    tried_again: bool = False
    is_cut: bool = False
    outcome: str = ""

    def ask(self) -> None:
        """Come in."""
        self.asked_at = self.world.clock.seconds()
        self.world.clients.append(self)
        lease = self.world.router.acquire_now(self.target)
        if lease is None:
            self._await(self.world.router.acquire(self.target))
        else:
            self._granted(lease)

    def leave(self, outcome: str = "left") -> None:
        """Hang up; or the answer is over."""
        if self.waiting is not None:
            self.waiting.cancel()
        elif self.lease is not None:
            self._give_back()
            self._end(outcome)

    def notice(self) -> None:
        """Look whether the server has died, which breaks the answer a little later."""
        if self.lease is not None and self.server is not None and not (self.server.alive or self.is_cut):
            self.is_cut = True
            self.world.clock.callLater(self.world.dice.choice((0.0, 0.2)), self.leave, "cut")

    def _await(self, waiting: Deferred[Lease]) -> None:
        self.waiting = waiting
        waiting.addCallbacks(self._granted, self._failed).addErrback(self.world.broken)

    def _granted(self, lease: Lease) -> None:
        assert self.lease is None, "granted twice"
        assert not self.outcome, f"granted after {self.outcome}"
        self.waiting, self.lease = None, lease
        self.server = self.world.granted(self, lease)
        if self.server is None:
            self._unheard(lease)
        elif self.takes == 0:
            self.leave("served")
        else:
            self.world.clock.callLater(self.takes, self.leave, "served")

    def _unheard(self, lease: Lease) -> None:
        """The server has died before this request came: try once more."""
        self._give_back()
        if self.tried_again:
            self._end("broken")
        else:
            self.tried_again = True
            self._await(self.world.router.acquire_again(lease, self.target, NobodyListens("nobody")))

    def _failed(self, failure: Failure) -> None:
        self.waiting = None
        if failure.check(CancelledError):
            self._end("left")
        else:
            failure.trap(SwapError)
            self.world.refused(self, failure.value)
            self._end(type(failure.value).__name__)

    def _give_back(self) -> None:
        lease, self.lease = self.lease, None
        assert lease is not None, "nothing to give back"
        lease.release()

    def _end(self, outcome: str) -> None:
        assert not self.outcome, f"{self.outcome}, then {outcome}"
        self.outcome = outcome
        self.world.clients.remove(self)
        self.world.outcomes[outcome] += 1
