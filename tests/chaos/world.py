"""One life of a router: what happens to it, in random order, and how it ends."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from llama_swap.lifecycle.service import ANSWERS_MAY_TAKE, KILLED_MAY_TAKE, MODELS_MAY_TAKE
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.routing.difference import stale
from llama_swap.routing.preload import Preload
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target
from llama_swap.upstream.process import LocalLauncher
from llama_swap.upstream.readiness import Prober
from tests.chaos.clients import Client
from tests.chaos.configs import changed, make
from tests.chaos.laws import Laws
from tests.chaos.system import System
from tests.fakes import FakeGuard

HEALTH_TIMEOUT = 15.0
TICK = 1e-6
"""Seconds that pass at least with each event: where time stands still, whoever waits for it looks for ever."""
FOR_EVER = 3000.0


class Ticking(Clock):
    """A clock on which nothing happens at the very moment in which it was asked for."""

    def callLater(self, when: float, what: Callable[..., object], *args: object, **kw: object) -> Any:
        """See `IReactorTime.callLater`."""
        return super().callLater(max(TICK, when), what, *args, **kw)


def is_ours(what: Callable[..., object]) -> bool:
    """Whether something that is to be called belongs to the program, not to this world."""
    return getattr(what, "__module__", "").startswith("llama_swap")


class World(Laws):
    """A router in a played machine, with clients who come and go, and others who change things."""

    def __init__(self, seed: int, wild: float = 1.0) -> None:
        """`wild` is how likely it is, compared to the usual, that something goes wrong or is changed."""
        self.dice = random.Random(seed)
        clock = Ticking()
        super().__init__(clock, System(clock, self.dice, wild))
        self.system.launched, self.system.signalled = self.launched, self.signalled
        self.outcomes: Counter[str] = Counter()
        self.steps = 0
        self.story: list[str] = []
        self._unloads = 0
        self._guard = FakeGuard()
        logs = Broadcaster()
        prober = Prober(
            clock, self.system.endpoint, self.system.get_status, logs, lambda port: succeed("pid 1"), HEALTH_TIMEOUT
        )
        launcher = LocalLauncher(self.system, clock, logs, self._guard, {"PATH": "/bin:/usr/bin"})
        self.router = Router(make(self.dice), clock, launcher, prober)
        self._config_before = self.router.config
        self._preload = Preload(self.router)
        self._happenings: list[tuple[Callable[[], None], int]] = [
            (self._request, 30),
            (self._leave, 8),
            (self._next_event, 40),
            (self._let_pass, 10),
        ]
        if wild:
            self._happenings += [
                (self._unload, 3),
                (self._unload_all, 1),
                (self._reload, 4),
                (self._crash, 2),
                (self._take_port, 1),
                (self._jump, 1),
            ]

    def live(self, steps: int) -> None:
        """Live, and come to an end: AssertionError if that is not as it must be."""
        events, weights = zip(*self._happenings, strict=True)
        with self.system.played():
            self._preload.startService()
            for event in self.dice.choices(events, weights, k=steps):
                self.steps += 1
                self.tell(event.__name__)
                event()
                self.check()
            if self.dice.random() < 0.7:
                self._settle()
            self._close()

    def tell(self, what: str) -> None:
        """Note something for whoever has to find out what went wrong."""
        self.story.append(f"{self.clock.seconds():8.2f} {what}")

    def check(self) -> None:
        """See `Laws.check`; clients see what became of their servers."""
        super().check()
        for client in self.clients:
            client.notice()

    # -- what happens -----------------------------------------------------------------------------------------

    def _request(self) -> None:
        config = self.router.config
        targets = [Target(model) for model in config.models]
        targets += [Target(member, profile) for profile, members in config.profiles.items() for member in members]
        target = self.dice.choice(targets)
        if self.dice.random() < 0.05:
            target = evolve(target, if_cold="it is cold")
        client = Client(self, target, self.dice.choice((0.0, 0.1, 1.0, 40.0 if self.system.wild else 5.0)))
        self.tell(f"  {target} for {client.takes} s")
        rivals = sum(other.target.model == target.model for other in self.clients if not other.tried_again)
        client.ask()
        self.came(client, rivals)

    def _leave(self) -> None:
        if self.clients:
            self.dice.choice(self.clients).leave()

    def granted(self, client: Client, lease: Any) -> Any:
        """See `Laws.granted`.  Another client may leave at this very moment."""
        if self.dice.random() < 0.05:
            self._leave_waiting(client)
        return super().granted(client, lease)

    def _leave_waiting(self, but: Client) -> None:
        if waiting := [client for client in self.clients if client.waiting is not None and client is not but]:
            self.dice.choice(waiting).leave()

    def _next_event(self) -> None:
        if due := [call.getTime() for call in self.clock.getDelayedCalls()]:
            self.clock.advance(max(TICK, min(due) - self.clock.seconds()))

    def _let_pass(self) -> None:
        self._run(self.dice.choice((0.01, 0.3, 3.0)))

    def _jump(self) -> None:
        """Much time passes at once, as when the machine has slept, or the process was stopped."""
        self.clock.advance(self.dice.choice((1, 10, 100)))
        self.stopping.clear()

    def _run(self, seconds: float) -> None:
        """Let time pass, one event after the other."""
        until = self.clock.seconds() + seconds
        while any(call.getTime() <= until for call in self.clock.getDelayedCalls()):
            self._next_event()
            self.check()
        self.clock.advance(max(0.0, until - self.clock.seconds()))

    def _unload(self) -> None:
        model = self.dice.choice(list(self.router.config.models))
        self.may_be_cut.add(model)
        self._count(self.router.unload([model]))

    def _unload_all(self) -> None:
        models, preloads = set(self.router.upstreams), self._preload._loading is not None
        self.may_be_cut |= models
        self._count(self.router.unload_all())
        left = set(self.router.upstreams.states().values())
        assert left <= {"stopping"} or preloads, f"all were unloaded, and are {left}"

    def _count(self, unloaded: Deferred[None]) -> None:
        def over(_: None) -> None:
            self._unloads -= 1

        self._unloads += 1
        unloaded.addCallback(over).addErrback(self.broken)

    def _reload(self) -> None:
        there = self.router.upstreams.states().keys() | self.router._scheduler._loading.keys()
        has_process = {name for name in there if self.router.upstreams[name].state != "stopped"}
        self.met |= {frozenset((one, other)) for one in has_process for other in has_process}
        before = self.router.config
        config = self._config_before if self.dice.random() < 0.3 else changed(self.dice, before)
        self._config_before = before
        self.forgive_overdue()
        retiring = stale([running for running, _ in self.router.upstreams.running()], config)
        self.retiring = {model: self.retiring.get(model, self.clock.seconds()) for model in retiring}
        added = self.router.follow(config).added
        self._preload.load(model for model in config.preload if model in added)

    def _crash(self) -> None:
        if servers := self.system.servers():
            self.system.crash(self.dice.choice(servers))

    def _take_port(self) -> None:
        port = self.dice.choice(list(self.router.config.models.values())).address[1]
        self.system.take(port, self.dice.choice((0.3, 10)))

    # -- how it ends ------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Nothing new happens, and nothing goes wrong any more: all that is under way must come to its end."""
        self.tell("settle")
        self.system.wild = 0.0
        began = self.clock.seconds()
        while self.router._waiting:
            assert self.clock.seconds() - began < FOR_EVER, "somebody waits for ever"
            assert self.clock.getDelayedCalls(), "somebody waits, and nothing is to come"
            self._next_event()
            self.check()
        self._run(60)
        assert not self.clients, "somebody is still there"
        assert not self._unloads, "an unload has no end"

    def _close(self) -> None:
        """End as `SwapService` does."""
        self.tell("close")
        self._preload.stopService()
        quiet, gone = self.router.close(), False
        self.is_closed = True
        assert not self.router._waiting, "somebody waits after the end"
        assert "starting" not in self.router.upstreams.states().values(), "loads go on after the end"
        until = self.clock.seconds() + ANSWERS_MAY_TAKE
        while not quiet.called and self.clock.seconds() < until:
            if self.dice.random() < 0.3 and self.router.config.models:
                self._request()
            self._next_event()
            self.check()
        self.may_be_cut |= set(self.router.upstreams)
        left = self.router.unload_all()
        self._run(MODELS_MAY_TAKE)
        if not left.called:
            self.router.kill_all()
            self._run(KILLED_MAY_TAKE)
            gone = left.called or any(each.is_stuck for each in self.system.processes.values())
            assert gone, "a model was killed, and is not gone"
        self._run(0.5)
        if left.called and not any(each.is_given_up for each in self.system.processes.values()):
            ours = [call.func for call in self.clock.getDelayedCalls() if is_ours(call.func)]
            assert not ours, f"nothing is left, and to come are: {ours}"
        self._run(300)
        assert left.called, "the end has no end"
        assert not self.clients, "somebody is still there"
        assert not self.router.upstreams.states(), f"not stopped: {self.router.upstreams.states()}"
        orphans = [each for each in self.system.processes.values() if each.alive and each.mark]
        assert not orphans, f"left behind: {orphans}"
        assert not self.clock.getDelayedCalls(), f"still to come: {self.clock.getDelayedCalls()}"
        assert Counter(self._guard.watched) == Counter(self._guard.forgotten), "the guard watches what is gone"
