"""A scheduler to ask in short words, and a world that obeys it and checks that it keeps its laws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import ClassVar

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Group, Matrix, Routing
from llama_swap.errors import StartFailed, SwapError
from llama_swap.scheduling.commands import Command, Drop, Reject, Serve, Start, Stop, Target, Ticket
from llama_swap.scheduling.fifo import FIFOScheduler
from llama_swap.scheduling.rules import rules_of
from tests.fakes import make_config

MAX_WAIT = 10.0
ERROR = StartFailed("out of memory")


def scheduler_of(names: str, limit: int = 10, routing: Routing | None = None, **profiles: str) -> FIFOScheduler:
    """Return a scheduler for models with these names, and these list profiles."""
    return FIFOScheduler(rules_of(make_config(names.split(), profiles, routing, concurrency_limit=limit)))


def groups_of(**groups: Group) -> Routing:
    """Return what a configuration says that has these groups and nothing else."""
    return Routing(groups=groups)


def matrix_of(*combinations: str) -> Routing:
    """Return what a configuration says that has these combinations of models, and nothing else."""
    return Routing(matrix=Matrix(combinations=tuple(frozenset(together.split()) for together in combinations)))


def group(members: str, **settings: bool) -> Group:
    """Return a group of these models."""
    return Group(members=tuple(members.split()), **settings)


def target_for(name: str) -> Target:
    """Return the target of `MODEL` or `PROFILE:MODEL`; with a `?` behind it, of a request that may start nothing."""
    profile, _, model = name.removesuffix("?").rpartition(":")
    return Target(model, profile or None, "cold" if name.endswith("?") else None)


class SchedulerCase(SynchronousTestCase):
    """Tests that tell one scheduler events, and look at its commands."""

    models = "a b c"
    limit = 10
    profiles: ClassVar[dict[str, str]] = {}
    routing = Routing()

    def setUp(self) -> None:
        self.scheduler = scheduler_of(self.models, self.limit, self.routing, **self.profiles)

    def ask(self, name: str, arrived: float = 0.0) -> tuple[Ticket, list[Command]]:
        """Request `name`; return the ticket and what the scheduler said."""
        ticket = Ticket(target_for(name), arrived)
        return ticket, self.scheduler.requested(ticket)

    def serve(self, name: str) -> Ticket:
        """Have a ticket for `name` served by a model that is loaded for it."""
        ticket, commands = self.ask(name)
        if commands != [Serve(ticket)]:
            self.assertEqual(commands, [Start(ticket.model)])
            self.assertEqual(self.scheduler.ready(ticket.model), [Serve(ticket)])
        return ticket

    def load(self, *names: str) -> None:
        """Have models ready that nobody uses."""
        for name in names:
            self.scheduler.released(self.serve(name))

    def assert_rejected(self, commands: list[Command], tickets: list[Ticket], error: type[SwapError]) -> None:
        """`commands` reject exactly `tickets`, in this order, with this error."""
        rejected = [command for command in commands if isinstance(command, Reject)]
        self.assertEqual(rejected, commands)
        self.assertEqual([command.ticket for command in rejected], tickets)
        for command in rejected:
            self.assertIsInstance(command.error, error)


@define
class World:
    """Models and clients that do what the scheduler says, as fast as a test wants; every command is checked."""

    scheduler: FIFOScheduler
    may_start: Callable[[str, set[str]], bool]
    """Whether a model may start while others are alive."""
    now: float = 0.0
    waiting: list[Ticket] = field(factory=list)
    """In the order of arrival."""
    served: list[Ticket] = field(factory=list)
    alive: dict[str, str] = field(factory=dict)
    """What each process does: starting, ready, or stopping."""
    after: dict[str, set[str]] = field(factory=dict)
    """For each model: those that started when its own load had been decided, and only waited for others to leave."""
    starts: Counter[str] = field(factory=Counter)
    wanted: bool = False
    """Whether anybody has asked for more than what runs anyway."""
    closed: bool = False

    # -- what may happen --------------------------------------------------------------------------------------

    def request(self, name: str) -> Ticket:
        ticket = Ticket(target_for(name), self.now)
        self.wanted |= ticket.target.if_cold is None
        self.waiting.append(ticket)
        self._obey(self.scheduler.requested(ticket))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        self.waiting.remove(ticket)
        self._obey(self.scheduler.cancelled(ticket))

    def release(self, ticket: Ticket) -> None:
        self.served.remove(ticket)
        self._obey(self.scheduler.released(ticket))

    def become_ready(self, model: str) -> None:
        self.alive[model] = "ready"
        self._obey(self.scheduler.ready(model))

    def fail(self, model: str) -> None:
        self.alive[model] = "stopping"
        self._obey(self.scheduler.failed(model, ERROR))

    def crash(self, model: str) -> None:
        self.alive[model] = "stopping"
        self.scheduler.ending(model)

    def vanish(self, model: str) -> None:
        """The process is gone: it was told to, or failed, or has crashed."""
        del self.alive[model]
        self._obey(self.scheduler.stopped(model))

    def idle(self, model: str) -> None:
        self._obey(self.scheduler.idled(model))

    def unload(self, model: str) -> None:
        self._obey(self.scheduler.unloaded(model), may_cut=model)

    def reload(self, stale: set[str], lost: set[Ticket]) -> None:
        """Another configuration with the same rules, by which some processes are stale, and some tickets lost."""
        rules = self.scheduler._rules
        self._obey(self.scheduler.reconfigured(rules, stale=stale & self.alive.keys(), lost=lost))

    def overdue(self, model: str) -> None:
        self._obey(self.scheduler.overdue(model), may_cut=model)

    def close(self) -> None:
        self.closed = True
        self._obey(self.scheduler.closed())

    def doing(self, state: str) -> list[str]:
        """Return the models whose process is in this state."""
        return sorted(model for model, does in self.alive.items() if does == state)

    def settle(self) -> None:
        """Let everything that is under way come to its end."""
        for _ in range(300):
            if self.served:
                self.release(self.served[0])
            elif stopping := self.doing("stopping"):
                self.vanish(stopping[0])
            elif starting := self.doing("starting"):
                self.become_ready(starting[0])
            else:
                return
        raise AssertionError("the world does not come to rest")

    # -- what must hold ---------------------------------------------------------------------------------------

    def check(self) -> None:
        """Compare what the scheduler believes with what is."""
        assert self.scheduler.waiting() == len(self.waiting), "a ticket is lost, or kept after its answer"
        for model in self.alive:
            assert self.scheduler.in_flight(model) == sum(ticket.model == model for ticket in self.served)
        assert self.scheduler.in_flight() == len(self.served)

    def _obey(self, commands: Iterable[Command], *, may_cut: str | None = None) -> None:
        for command in commands:
            match command:
                case Serve(ticket):
                    self._serve(ticket)
                case Reject(ticket):
                    self.waiting.remove(ticket)  # ValueError: it has had its answer
                case Stop(model, successor):
                    self._stop(model, successor, may_cut=model == may_cut)
                case Start(model):
                    self._start(model)
                case Drop(model):
                    assert self.alive.get(model) in (None, "stopping"), f"{model} is dropped although it was started"
        self.after = {model: later for model, later in self.after.items() if self.scheduler._loading.get(model)}

    def _serve(self, ticket: Ticket) -> None:
        assert self.alive.get(ticket.model) == "ready", f"served by {ticket.model}, which is not ready"
        assert not self.closed, "served after the end"
        self.waiting.remove(ticket)  # ValueError: it has had its answer
        for other in self.waiting:
            if ticket.arrived >= other.arrived + MAX_WAIT and other.model != ticket.model:
                assert self.may_start(other.model, {ticket.model}), "overtook one that had waited too long"
        self.served.append(ticket)

    def _stop(self, model: str, successor: str | None, *, may_cut: bool) -> None:
        state, self.alive[model] = self.alive[model], "stopping"
        assert state != "stopping", f"{model} is stopped twice"
        if state == "ready" and not may_cut:
            assert all(ticket.model != model for ticket in self.served), f"{model} is stopped while it answers"
        if successor is not None:
            assert state == "ready", f"the load of {model} is given up for {successor}"
            first = min((ticket for ticket in self.waiting if ticket.model in (model, successor)), key=self._due)
            assert first.model == successor, f"{model} goes for one that came later"

    def _due(self, ticket: Ticket) -> float:
        return ticket.arrived - self.scheduler._rules.head_starts[ticket.model]

    def _start(self, model: str) -> None:
        assert model not in self.alive, f"{model} is started twice"
        assert self.wanted, f"{model} is started for somebody who did not want that"
        assert not self.closed, "started after the end"
        others = self.alive.keys() - self.after.get(model, set())
        assert self.may_start(model, others), f"{model} starts while {sorted(others)} are alive"
        decided = [other for other, awaited in self.scheduler._loading.items() if awaited]
        for other in decided:
            self.after.setdefault(other, set()).add(model)
        self.alive[model] = "starting"
        self.starts[model] += 1
