"""A scheduler to ask in short words, and a world that obeys it and checks that it keeps its laws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import StartFailed, SwapError
from llama_swap.scheduling.commands import Command, Reject, Serve, Start, Stop, Target, Ticket
from llama_swap.scheduling.fifo import FIFOScheduler
from tests.fakes import make_config, policy_of

MAX_WAIT = 10.0
ERROR = StartFailed("out of memory")


def scheduler_of(names: str, limit: int = 10, **profiles: str) -> FIFOScheduler:
    """Return a scheduler for models with these names, and these list profiles."""
    config = make_config(names.split(), profiles)
    return FIFOScheduler(policy_of(config), dict.fromkeys(config.models, limit), MAX_WAIT)


def target_for(name: str) -> Target:
    """Return the target of `MODEL` or `PROFILE:MODEL`."""
    profile, _, model = name.rpartition(":")
    return Target(model, profile or None)


class SchedulerCase(SynchronousTestCase):
    """Tests that tell one scheduler events, and look at its commands."""

    models = "a b c"
    limit = 10
    profiles: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        self.scheduler = scheduler_of(self.models, self.limit, **self.profiles)

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
    together: Iterable[frozenset[str]]
    """Sets of models that may be alive at once; every single model may be, and every subset."""
    now: float = 0.0
    waiting: list[Ticket] = field(factory=list)
    """In the order of arrival."""
    served: list[Ticket] = field(factory=list)
    alive: dict[str, str] = field(factory=dict)
    """What each process does: starting, ready, or stopping."""
    starts: Counter[str] = field(factory=Counter)
    closed: bool = False

    # -- what may happen --------------------------------------------------------------------------------------

    def request(self, name: str) -> Ticket:
        ticket = Ticket(target_for(name), self.now)
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

    def vanish(self, model: str) -> None:
        """The process is gone: it was told to, or failed, or was ready and crashed."""
        del self.alive[model]
        self._obey(self.scheduler.stopped(model))

    def idle(self, model: str) -> None:
        self._obey(self.scheduler.idled(model))

    def unload(self, model: str) -> None:
        self._obey(self.scheduler.unloaded(model), may_cut=model)

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

    def _serve(self, ticket: Ticket) -> None:
        assert self.alive.get(ticket.model) == "ready", f"served by {ticket.model}, which is not ready"
        assert not self.closed, "served after the end"
        index = self.waiting.index(ticket)  # ValueError: it has had its answer
        for older in self.waiting[:index]:
            if ticket.arrived >= older.arrived + MAX_WAIT:
                assert self._may_live({older.model, ticket.model}), "overtook one that had waited too long"
        del self.waiting[index]
        self.served.append(ticket)

    def _stop(self, model: str, successor: str | None, *, may_cut: bool) -> None:
        state, self.alive[model] = self.alive[model], "stopping"
        assert state != "stopping", f"{model} is stopped twice"
        if state == "ready" and not may_cut:
            assert all(ticket.model != model for ticket in self.served), f"{model} is stopped while it answers"
        if successor is not None:
            assert state == "ready", f"the load of {model} is given up for {successor}"
            first = next(ticket for ticket in self.waiting if ticket.model in (model, successor))
            assert first.model == successor, f"{model} goes for one that came later"

    def _start(self, model: str) -> None:
        assert model not in self.alive, f"{model} is started twice"
        assert not self.closed, "started after the end"
        self.alive[model] = "starting"
        self.starts[model] += 1
        assert self._may_live(set(self.alive)), f"alive together: {sorted(self.alive)}"

    def _may_live(self, models: set[str]) -> bool:
        return len(models) == 1 or any(models <= allowed for allowed in self.together)
