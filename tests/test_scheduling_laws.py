"""What the scheduler never does, whatever happens in whatever order: random histories, played in a small world."""

from __future__ import annotations

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

from tests.support_scheduling import MAX_WAIT, World, scheduler_of

MODELS = "a b c d twin"
PROFILES = {"p": "a b", "q": "a c", "r": "b c d", "s": "a d twin"}
NAMES = (*MODELS.split(), *(f"{name}:{member}" for name, members in PROFILES.items() for member in members.split()))
TOGETHER = [frozenset(members.split()) for members in ("a b", "a c", "b c d", "a d", "a twin")]
LIMIT = 4


class Histories(RuleBasedStateMachine):
    """Arrivals, cancellations, releases, readiness, failures, crashes, unloads; `World` checks each command."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(scheduler_of(MODELS, LIMIT, **PROFILES), TOGETHER)

    @rule(name=st.sampled_from(NAMES), pause=st.sampled_from([0.0, 0.0, 0.0, 3.0, MAX_WAIT]))
    def request(self, name: str, pause: float) -> None:
        self.world.now += pause
        self.world.request(name)

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
        self.world.vanish(data.draw(st.sampled_from(self.world.doing("ready"))))

    @precondition(lambda self: self.world.doing("ready"))
    @rule(data=st.data())
    def idle(self, data: st.DataObject) -> None:
        self.world.idle(data.draw(st.sampled_from(self.world.doing("ready"))))

    @rule(model=st.sampled_from(MODELS.split()))
    def unload(self, model: str) -> None:
        self.world.unload(model)

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

    def test_histories(self) -> None:
        """No ticket is lost or answered twice, no answer cut, no forbidden pair alive, nobody waits for ever."""
        run_state_machine_as_test(
            Histories,
            settings=settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None),
        )
