"""What the scheduler never does, whatever happens in whatever order: random histories, played in a small world."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, field, frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Routing
from tests.support_scheduling import MAX_WAIT, World, group, groups_of, matrix_of, scheduler_of

LIMIT = 4
PROFILES = {"p": "a b", "q": "a c", "r": "b c d", "s": "a d twin"}
TOGETHER = [set(members.split()) for members in ("a b", "a c", "b c d", "a d", "a twin")]
GROUPS = groups_of(
    turns=group("a b"),
    side=group("c d", swap=False),
    modest=group("e f", exclusive=False),
    forever=group("g", persistent=True),
)
GOES = {
    "a": "b c d e f x",
    "b": "a c d e f x",
    "c": "a b e f x",
    "d": "a b e f x",
    "e": "f",
    "f": "e",
    "g": "a b c d e f x",
}
"""For whom each model must be gone before it starts, by these groups; those that are in none go as all others do."""

COMBINATIONS = [set(members.split()) for members in ("a b c", "a d", "b d e", "c e", "f")]


@frozen
class Setting:
    """What a history is about."""

    models: str
    may_start: Callable[[str, set[str]], bool]
    profiles: dict[str, str] = field(factory=dict)
    routing: Routing | None = None

    @property
    def names(self) -> list[str]:
        """What can be asked for."""
        through = [f"{name}:{member}" for name, members in self.profiles.items() for member in members.split()]
        return [*self.models.split(), *through, f"{self.models[0]}?", *(f"{name}?" for name in through[:1])]

    def world(self) -> World:
        """Return a world in which nothing has happened."""
        return World(scheduler_of(self.models, LIMIT, self.routing, **self.profiles), self.may_start)


def in_profiles(model: str, alive: set[str]) -> bool:
    """Without groups, a model is alone, or in the company of a profile."""
    return not alive or any(alive | {model} <= allowed for allowed in TOGETHER)


def in_groups(model: str, alive: set[str]) -> bool:
    """A model starts when all those are gone that must be gone for it."""
    return alive.isdisjoint(GOES.get(model, "a b c d e f x").split())


def in_matrix(model: str, alive: set[str]) -> bool:
    """A model starts when it is part of one combination with all that are alive."""
    return not alive or any(alive | {model} <= allowed for allowed in COMBINATIONS)


class Histories(RuleBasedStateMachine):
    """Arrivals, cancellations, releases, readiness, failures, crashes, unloads; `World` checks each command."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self.world = setting.world()

    @rule(data=st.data(), pause=st.sampled_from([0.0, 0.0, 0.0, 3.0, MAX_WAIT]))
    def request(self, data: st.DataObject, pause: float) -> None:
        self.world.now += pause
        self.world.request(data.draw(st.sampled_from(self.setting.names)))

    @precondition(lambda self: self.world.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(self.world.waiting)))

    @precondition(lambda self: self.world.served)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.world.release(data.draw(st.sampled_from(self.world.served)))

    @precondition(lambda self: self.world.doing("starting"))
    @rule(data=st.data())
    def become_ready(self, data: st.DataObject) -> None:
        self.world.become_ready(data.draw(st.sampled_from(self.world.doing("starting"))))

    @precondition(lambda self: self.world.doing("starting"))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.world.fail(data.draw(st.sampled_from(self.world.doing("starting"))))

    @precondition(lambda self: self.world.doing("stopping"))
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        self.world.vanish(data.draw(st.sampled_from(self.world.doing("stopping"))))

    @precondition(lambda self: self.world.doing("ready"))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.world.crash(data.draw(st.sampled_from(self.world.doing("ready"))))

    @precondition(lambda self: self.world.doing("ready"))
    @rule(data=st.data())
    def idle(self, data: st.DataObject) -> None:
        self.world.idle(data.draw(st.sampled_from(self.world.doing("ready"))))

    @rule(data=st.data())
    def unload(self, data: st.DataObject) -> None:
        self.world.unload(data.draw(st.sampled_from(self.setting.models.split())))

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        stale = data.draw(st.sets(st.sampled_from(self.setting.models.split()), max_size=2))
        waiting = self.world.waiting
        self.world.reload(stale, set(data.draw(st.lists(st.sampled_from(waiting), max_size=2)) if waiting else ()))

    @precondition(lambda self: self.world.scheduler._retiring)
    @rule(data=st.data())
    def overdue(self, data: st.DataObject) -> None:
        self.world.overdue(data.draw(st.sampled_from(sorted(self.world.scheduler._retiring))))

    @precondition(lambda self: not self.world.closed)
    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        if chance == 0:
            self.world.close()

    @invariant()
    def believes_what_is(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle()
        self.world.check()
        assert not self.world.waiting, "somebody waits for ever"


class LawTests(SynchronousTestCase):
    """The laws."""

    def check(self, setting: Setting) -> None:
        """No ticket is lost or answered twice, no answer cut, no forbidden pair alive, nobody waits for ever."""
        run_state_machine_as_test(
            lambda: Histories(setting),
            settings=settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None),
        )

    def test_profiles(self) -> None:
        """With list profiles that share models, and models that share an address."""
        self.check(Setting("a b c d twin", in_profiles, PROFILES))

    def test_groups(self) -> None:
        """With groups of every kind."""
        self.check(Setting("a b c d e f g x", in_groups, routing=GROUPS))

    def test_matrix(self) -> None:
        """With a matrix, one of whose models is in no set."""
        routing = matrix_of(*(" ".join(sorted(together)) for together in COMBINATIONS))
        self.check(Setting("a b c d e f x", in_matrix, routing=routing))

    def test_priorities(self) -> None:
        """With models that go before others."""
        self.check(Setting("a b c d e f g x", in_groups, routing=evolve(GROUPS, priority={"a": 2, "c": 1, "x": -1})))
