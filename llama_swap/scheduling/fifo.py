"""The scheduler: requests in the order of arrival, with as few swaps as that allows, and without starvation.

Events are method calls; each returns the commands that follow from it, in the order in which to carry them out.
No clock, no processes, no I/O: the caller (`llama_swap.routing`) carries the commands out and reports back.

A ticket is decided by these rules, in this order:

1.  Its model is being loaded, or retires: wait for that.  Or it is not there, and may not be started: reject.
2.  It needs a model gone that is itself being loaded: wait; a load under way is finished first.
3.  It needs a model gone that still answers somebody: wait; no answer is cut by a swap.
4.  It would be served at the cost of a ticket before it: wait until that one has had its turn.  It may neither stop the
    model of the other one, nor start one that must go for it, nor, if it came after the other one had already waited
    `max_wait`, use such a model any longer, or change which models those are.
5.  Otherwise: stop what must go, start what is missing, and serve it if its model is ready.

The order is that of arrival, but a model of high priority has a head start, of at most `max_wait`.  Tickets for one
model are let through together once it is ready, so A B C A B C costs three loads, not six.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set

from attrs import define, field

from llama_swap.errors import Conflict, SwapError, Unavailable
from llama_swap.scheduling.commands import Command, Drop, Plan, Reject, Serve, Start, Stop, Target, Ticket
from llama_swap.scheduling.queue import Queue, Waiting
from llama_swap.scheduling.refusals import gone, too_many, too_many_waiting
from llama_swap.scheduling.rules import Rules


@define
class FIFOScheduler:
    """Decides who is served, and what starts and stops for it.

    To the scheduler, a model is *loading* (with the models whose end it awaits; none: its process was started),
    *ready*, *stopping*, or gone, which is to be in none of these sets.  If it is wanted again while it stops, it is
    also loading, and awaits its own end.  A ready model may also be *retiring*: its configuration has changed, so it
    finishes its answers and takes no new requests.
    """

    _rules: Rules
    _queue: Queue = field(factory=Queue)
    _loading: dict[str, set[str]] = field(factory=dict)
    _ready: set[str] = field(factory=set)
    _stopping: set[str] = field(factory=set)
    _serving: Counter[str] = field(factory=Counter)
    _retiring: set[str] = field(factory=set)
    _closed: bool = False
    _plans: dict[Target, Plan] = field(factory=dict)
    """Cache of the policy's plans, for the models that are alive now."""
    _unhindered: set[Target] = field(factory=set)
    """Targets that can be served at once while nobody waits: nothing has to start or stop for them."""

    # -- what can be asked ------------------------------------------------------------------------------------

    def in_flight(self, model: str | None = None) -> int:
        """How many tickets are being served, by `model` or by all."""
        return self._serving.total() if model is None else self._serving[model]

    def waiting(self, model: str | None = None) -> int:
        """How many tickets are queued, for `model` or for all."""
        return len(self._queue) if model is None else self._queue.count(model)

    # -- events -----------------------------------------------------------------------------------------------

    def requested(self, ticket: Ticket) -> list[Command]:
        """A request came in."""
        if self._closed:
            return [Reject(ticket, Unavailable("llama-swap is shutting down"))]
        model = ticket.model
        limit = self._rules.limits[model]
        if self._serving[model] + self._queue.count(model) >= limit:
            return [Reject(ticket, too_many(model, limit))]
        if model not in self._ready and len(self._queue) >= self._rules.most_waiting:
            return [Reject(ticket, too_many_waiting(self._rules.most_waiting))]
        if self.try_serve(ticket):
            return [Serve(ticket)]
        waiting = self._queue.add(ticket, ticket.arrived - self._rules.head_starts.get(model, 0.0))
        return self._decide(waiting) if self._queue.first(ticket.target) is waiting else []

    def try_serve(self, ticket: Ticket) -> bool:
        """Serve a new request if its model is ready and has room, and nobody waits; return whether it was served.

        If not, this has no effect.  It is the fast path, which most requests take.
        """
        model = ticket.model
        if ticket.target not in self._unhindered or not self._queue.is_empty() or self._closed:
            return False
        if self._serving[model] >= self._rules.limits[model]:
            return False
        self._serving[model] += 1
        return True

    def cancelled(self, ticket: Ticket) -> list[Command]:
        """The client of a ticket has left before it was served.

        If the ticket is being served at this very moment, the caller finds the client gone, and releases the ticket.
        """
        return self._drain() if self._queue.remove(ticket) else []

    def released(self, ticket: Ticket) -> list[Command]:
        """A served ticket has had its answer, or its client left."""
        model = ticket.model
        self._serving[model] -= 1
        if self._serving[model] or (model not in self._retiring and self._queue.is_empty()):
            return []
        return (self._stop(model) if model in self._retiring else []) + self._drain()

    def ready(self, model: str) -> list[Command]:
        """A started model is ready.  Ignored if it is already told to stop."""
        if not self._is_starting(model):
            return []
        del self._loading[model]
        self._ready.add(model)
        return self._drain()

    def failed(self, model: str, error: SwapError) -> list[Command]:
        """A started model will not become ready; ignored if it is told to stop.  `stopped` follows when it is gone."""
        if not self._is_starting(model):
            return []
        del self._loading[model]
        self._stopping.add(model)
        self._unhindered.clear()
        return self._reject_waiting(model, error) + self._drain()

    def ending(self, model: str) -> None:
        """A ready model has ended by itself: it gets no more requests.  `stopped` follows when it is gone."""
        self._ready.discard(model)
        self._stopping.add(model)
        self._unhindered.clear()

    def stopped(self, model: str) -> list[Command]:
        """A model's process is gone, whether it was told to stop or not."""
        for models in (self._ready, self._stopping, self._retiring):
            models.discard(model)
        self._forget_plans()
        commands: list[Command] = []
        for successor, awaited in self._loading.items():
            if model in awaited:
                awaited.remove(model)
                if not awaited:
                    commands.append(Start(successor))
        return commands + self._drain()

    def idled(self, model: str) -> list[Command]:
        """A model was not used for its `ttl`.  Ignored if it is in use or waited for by now."""
        return [] if self._serving[model] or self._queue.count(model) else self._stop(model)

    def unloaded(self, *models: str) -> list[Command]:
        """These models are to be unloaded, even if they are in use.

        All tickets that wait for any of them are rejected first: otherwise, room made by one could start another.
        """
        commands: list[Command] = []
        for model in models:
            error = Unavailable(f"model {model} was unloaded while the request waited for it")
            commands += self._reject_waiting(model, error)
        for model in models:
            commands += self._stop(model)
        return commands + self._drain()

    def reconfigured(self, rules: Rules, *, stale: Set[str], lost: Set[Ticket]) -> list[Command]:
        """Use other rules from now on.

        `stale` are the models whose process must be replaced or ended: they finish their answers first.  `lost` are the
        waiting tickets that can no longer be served.
        """
        self._rules = rules
        self._forget_plans()
        self._retiring = self._ready & stale
        commands: list[Command] = [Reject(ticket, gone(ticket)) for ticket in lost if self._queue.remove(ticket)]
        for model in sorted(stale):
            if model not in self._retiring or not self._serving[model]:  # a load may be beside answers of before it
                commands += self._stop(model)
        for model in [model for model, awaited in self._loading.items() if awaited]:
            commands += self._stop(model)  # it has no process yet: by these rules, others may have to go for it
        return commands + self._drain()

    def overdue(self, model: str) -> list[Command]:
        """A model has been retiring for too long."""
        return self._stop(model) + self._drain() if model in self._retiring else []

    def closed(self) -> list[Command]:
        """The proxy shuts down: nothing new is served, and loads are ended.  Models with answers under way stay."""
        self._closed = True
        error = Unavailable("llama-swap is shutting down")
        commands: list[Command] = [Reject(ticket, error) for ticket in self._queue.take()]
        idle = [model for model in self._ready if not self._serving[model]]
        for model in [*self._loading, *idle]:
            commands += self._stop(model)
        return commands

    # -- decisions --------------------------------------------------------------------------------------------

    def _drain(self) -> list[Command]:
        """Decide again what waits, in the order of the queue."""
        commands: list[Command] = []
        for first in sorted(self._queue):
            target = first.ticket.target
            while (waiting := self._queue.first(target)) and (decided := self._decide(waiting)):
                commands += decided
        return commands

    def _decide(self, waiting: Waiting) -> list[Command]:
        """Apply the rules of this module to the first ticket of a lane; no commands: it waits."""
        ticket = waiting.ticket
        model = ticket.model
        if model in self._loading or model in self._retiring:
            return []
        if (if_cold := ticket.target.if_cold) is not None and model not in self._ready:
            self._queue.remove(ticket)
            return [Reject(ticket, Conflict(if_cold))]
        plan = self._plan(ticket.target)
        if any(evicted in self._loading or self._serving[evicted] for evicted in plan.evict):
            return []
        missing = [name for name in (model, *plan.alongside) if not (name in self._ready or name in self._loading)]
        if self._yields(waiting, plan.evict, missing):
            return []
        commands: list[Command] = []
        for evicted in sorted(plan.evict - self._stopping):
            commands += self._stop(evicted, successor=model)
        if model in self._ready:
            self._queue.remove(ticket)
            self._serving[model] += 1
            commands.append(Serve(ticket))
            if not plan.evict and not missing:
                self._unhindered.add(ticket.target)
        for name in missing:
            commands += self._load(name, plan)
        return commands

    def _yields(self, waiting: Waiting, stops: frozenset[str], starts: Iterable[str]) -> bool:
        """Whether a ticket, with what stops and starts for it, must let one before it have its turn first."""
        arrived, model, started = waiting.ticket.arrived, waiting.ticket.model, frozenset(starts)
        for before in self._queue:
            if before >= waiting:
                continue
            other = before.ticket
            if other.model in stops:
                return True
            overdue = arrived >= other.arrived + self._rules.max_wait
            evicted = self._plan(other.target).evict
            if overdue and model in evicted:
                return True
            if started:
                then = self._rules.policy.plan(other.target, self._alive() | started).evict
                if then & started or (overdue and then != evicted):
                    return True
        return False

    def _plan(self, target: Target) -> Plan:
        if (plan := self._plans.get(target)) is None:
            plan = self._plans[target] = self._rules.policy.plan(target, self._alive())
        return plan

    def _forget_plans(self) -> None:
        """Drop the cached plans: the policy, or which models are alive, has changed."""
        self._plans.clear()
        self._unhindered.clear()

    def _is_starting(self, model: str) -> bool:
        """Whether `model` was started, and may still become ready."""
        return self._loading.get(model) == set()

    def _alive(self) -> frozenset[str]:
        return frozenset(self._ready | self._stopping | self._loading.keys())

    def _load(self, model: str, plan: Plan) -> list[Command]:
        """Start `model` as soon as everything evicted, and its own former process, is gone."""
        awaited = self._stopping & (plan.evict | {model})
        self._loading[model] = awaited
        self._forget_plans()
        return [] if awaited else [Start(model)]

    def _stop(self, model: str, successor: str | None = None) -> list[Command]:
        """Stop `model`, unless that is under way already or there is nothing to stop."""
        self._unhindered.clear()
        awaited = self._loading.pop(model, None)
        if awaited is not None:
            self._forget_plans()
        if awaited:
            return [Drop(model)]  # it has no process yet
        if awaited is None and model not in self._ready:
            return []
        self._ready.discard(model)
        self._retiring.discard(model)
        self._stopping.add(model)
        return [Stop(model, successor)]

    def _reject_waiting(self, model: str, error: SwapError) -> list[Command]:
        """Reject every queued ticket of `model`."""
        return [Reject(ticket, error) for ticket in self._queue.take(model)]
