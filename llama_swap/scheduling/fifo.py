"""The scheduler: requests in the order they came, as few swaps as that allows, and nobody starved.

Events are method calls; each returns the commands that follow from it, in the order in which to carry them out.
No clock, no processes, no I/O: whoever calls it (`llama_swap.routing`) does what it says and reports back.

A ticket is decided by these rules, in this order:

1.  Its model is being loaded: wait for that load.
2.  It needs a model gone that is itself being loaded: wait; a load under way is finished first.
3.  It needs a model gone that still answers somebody: wait; no answer is cut by a swap.
4.  It would be served at the cost of an older ticket: wait until that one has had its turn.  It may neither stop the
    model of the older one, nor start one that must go for it, nor, if it came after the older one had already waited
    `max_wait`, use such a model any longer.
5.  Otherwise: stop what must go, start what is missing, and serve it if its model is ready.

Tickets for one model are let through together once it is ready, so A B C A B C costs three loads, not six.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from attrs import define, field

from llama_swap.errors import NotFound, SwapError, TooManyRequests, Unavailable
from llama_swap.scheduling.commands import Command, Plan, Policy, Reject, Serve, Start, Stop, Ticket


@define
class FIFOScheduler:
    """Decides who is served, and what starts and stops for it.

    A model is, for the scheduler, *loading* (with the models whose end it awaits; none: its process was started),
    *ready*, or *stopping*.  In none of these sets it is gone.  If it is wanted again while it stops, it is loading as
    well, and awaits its own end.  A ready model may also be *retiring*: its configuration has changed, so it ends its
    answers and takes no more.
    """

    _policy: Policy
    _limits: Mapping[str, int]
    """The most tickets, waiting and served, that a model may have."""
    _max_wait: float
    _queue: list[Ticket] = field(factory=list)
    _loading: dict[str, set[str]] = field(factory=dict)
    _ready: set[str] = field(factory=set)
    _stopping: set[str] = field(factory=set)
    _serving: Counter[str] = field(factory=Counter)
    _closed: bool = False
    _retiring: set[str] = field(factory=set)

    # -- what can be asked ------------------------------------------------------------------------------------

    def in_flight(self, model: str | None = None) -> int:
        """How many tickets are being served, by `model` or by all."""
        return self._serving.total() if model is None else self._serving[model]

    def waiting(self) -> int:
        """How many tickets are queued."""
        return len(self._queue)

    # -- events -----------------------------------------------------------------------------------------------

    def requested(self, ticket: Ticket) -> list[Command]:
        """A request came in."""
        if self._closed:
            return [Reject(ticket, Unavailable("llama-swap is shutting down"))]
        limit = self._limits[ticket.model]
        if self._serving[ticket.model] + sum(other.model == ticket.model for other in self._queue) >= limit:
            return [Reject(ticket, _too_many(ticket.model, limit))]
        self._queue.append(ticket)
        return self._decide(ticket)

    def cancelled(self, ticket: Ticket) -> list[Command]:
        """The client of a ticket is gone before it heard anything.

        If the ticket was let through this very moment, whoever was to tell the client finds nobody, and releases it.
        """
        if ticket not in self._queue:
            return []
        self._queue.remove(ticket)
        return self._drain()

    def released(self, ticket: Ticket) -> list[Command]:
        """A served ticket has had its answer, or its client left."""
        model = ticket.model
        self._serving[model] -= 1
        commands = self._stop(model) if model in self._retiring and not self._serving[model] else []
        return commands + self._drain()

    def ready(self, model: str) -> list[Command]:
        """A started model answers.  That is no news if it is to stop, and has not heard of it yet."""
        if not self._is_starting(model):
            return []
        del self._loading[model]
        self._ready.add(model)
        return self._drain()

    def failed(self, model: str, error: SwapError) -> list[Command]:
        """A started model will not become ready; no news if it is to stop.  `stopped` follows when it is gone."""
        if not self._is_starting(model):
            return []
        del self._loading[model]
        self._stopping.add(model)
        return self._reject_waiting(model, error) + self._drain()

    def stopped(self, model: str) -> list[Command]:
        """A model's process is gone, by our will or not."""
        self._ready.discard(model)
        self._retiring.discard(model)
        self._stopping.discard(model)
        commands: list[Command] = []
        for successor, awaited in self._loading.items():
            if model in awaited:
                awaited.remove(model)
                if not awaited:
                    commands.append(Start(successor))
        return commands + self._drain()

    def idled(self, model: str) -> list[Command]:
        """A model was not used for its `ttl`.  Ignored if somebody uses or waits for it by now."""
        wanted = self._serving[model] or any(ticket.model == model for ticket in self._queue)
        return [] if wanted else self._stop(model)

    def unloaded(self, model: str) -> list[Command]:
        """Somebody wants the model gone, whoever uses it."""
        error = Unavailable(f"model {model} was unloaded while the request waited for it")
        return self._reject_waiting(model, error) + self._stop(model) + self._drain()

    def reconfigured(
        self, policy: Policy, limits: Mapping[str, int], max_wait: float, *, stale: Set[str], lost: Set[Ticket]
    ) -> list[Command]:
        """Other rules hold from now on.

        `stale` are the models whose process must give way to another one, or to none: they end their answers first.
        `lost` are the waiting tickets that nobody can serve any more.
        """
        self._policy, self._limits, self._max_wait = policy, limits, max_wait
        self._retiring = self._ready & stale
        self._queue = [ticket for ticket in self._queue if ticket not in lost]
        commands: list[Command] = [Reject(ticket, _gone(ticket)) for ticket in lost]
        for model in sorted(stale):
            if not self._serving[model]:
                commands += self._stop(model)
        for model in [model for model in self._loading if model not in limits]:
            commands += self._stop(model)  # it awaits the end of others, and has no process that could be stale
        return commands + self._drain()

    def overdue(self, model: str) -> list[Command]:
        """A model has been retiring for too long."""
        return self._stop(model) + self._drain() if model in self._retiring else []

    def closed(self) -> list[Command]:
        """The proxy shuts down: nothing new is served, and loads end.  Models that answer somebody stay."""
        self._closed = True
        error = Unavailable("llama-swap is shutting down")
        rejections: list[Command] = [Reject(ticket, error) for ticket in self._queue]
        self._queue.clear()
        idle = [model for model in self._ready if not self._serving[model]]
        for model in [*self._loading, *idle]:
            rejections += self._stop(model)
        return rejections

    # -- decisions --------------------------------------------------------------------------------------------

    def _drain(self) -> list[Command]:
        """Decide every queued ticket again, in order of arrival."""
        return [command for ticket in tuple(self._queue) for command in self._decide(ticket)]

    def _decide(self, ticket: Ticket) -> list[Command]:
        """Apply the rules of this module to a queued ticket; an empty answer means it waits."""
        if ticket.model in self._loading or ticket.model in self._retiring:
            return []
        plan = self._policy.plan(ticket.target, self._alive())
        if any(model in self._loading or self._serving[model] for model in plan.evict):
            return []
        wanted = (ticket.model, *plan.alongside)
        missing = [model for model in wanted if model not in self._ready and model not in self._loading]
        if self._yields(ticket, plan.evict, missing):
            return []
        commands: list[Command] = []
        for model in sorted(plan.evict - self._stopping):
            commands += self._stop(model, successor=ticket.model)
        if ticket.model in self._ready:
            self._queue.remove(ticket)
            self._serving[ticket.model] += 1
            commands.append(Serve(ticket))
        for model in missing:
            commands += self._load(model, plan)
        return commands

    def _yields(self, ticket: Ticket, stops: frozenset[str], starts: Iterable[str]) -> bool:
        """Whether serving `ticket`, with what stops and starts for it, must wait until an older one was served."""
        for older in self._queue:
            if older is ticket:
                return False
            overdue = ticket.arrived >= older.arrived + self._max_wait
            in_its_way = {*starts, ticket.model} if overdue else set(starts)
            if older.model in stops:
                return True
            if in_its_way and in_its_way & self._policy.plan(older.target, self._alive() | in_its_way).evict:
                return True
        return False

    def _is_starting(self, model: str) -> bool:
        """Whether `model` was started, and may still become ready."""
        return self._loading.get(model) == set()

    def _alive(self) -> frozenset[str]:
        return frozenset(self._ready | self._stopping | self._loading.keys())

    def _load(self, model: str, plan: Plan) -> list[Command]:
        """Start `model` as soon as everything evicted, and its own former process, is gone."""
        awaited = self._stopping & (plan.evict | {model})
        self._loading[model] = awaited
        return [] if awaited else [Start(model)]

    def _stop(self, model: str, successor: str | None = None) -> list[Command]:
        """Stop `model`, unless that is under way already or there is nothing to stop."""
        awaited = self._loading.pop(model, None)
        if awaited or (awaited is None and model not in self._ready):
            return []  # no process yet, or none any more
        self._ready.discard(model)
        self._retiring.discard(model)
        self._stopping.add(model)
        return [Stop(model, successor)]

    def _reject_waiting(self, model: str, error: SwapError) -> list[Command]:
        """Reject every queued ticket of `model`."""
        rejected = [ticket for ticket in self._queue if ticket.model == model]
        self._queue = [ticket for ticket in self._queue if ticket.model != model]
        return [Reject(ticket, error) for ticket in rejected]


def _gone(ticket: Ticket) -> NotFound:
    name = ":".join(filter(None, (ticket.target.profile, ticket.model)))
    return NotFound(f"{name} was taken out of the configuration while the request waited for it")


def _too_many(model: str, limit: int) -> TooManyRequests:
    return TooManyRequests(
        f"Too many requests: model {model} has {limit} in flight or waiting already (models.{model}.concurrencyLimit)"
    )
