"""Groups: who goes when one of them is wanted, and what the scheduler makes of that."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.scheduling.commands import Serve, Start, Stop, Target
from llama_swap.scheduling.groups import Groups
from tests.support_scheduling import MAX_WAIT, SchedulerCase, group, groups_of

GROUPS = {
    "turns": group("a b"),
    "side": group("c d", swap=False),
    "modest": group("e f", exclusive=False),
    "forever": group("g", persistent=True),
}


class PolicyTests(SynchronousTestCase):
    """`Groups.plan`, as a function."""

    def assert_evicted(self, model: str, running: str, evicted: str, groups: object = None) -> None:
        """Loading `model` while `running` are alive evicts exactly `evicted`."""
        plan = Groups(GROUPS if groups is None else {}).plan(Target(model), frozenset(running.split()))
        self.assertEqual((plan.evict, plan.alongside), (frozenset(evicted.split()), ()), (model, running))

    def test_without_groups(self) -> None:
        """Models in no group are one group: one at a time."""
        self.assert_evicted("x", "", "", groups={})
        self.assert_evicted("x", "x y z", "y z", groups={})

    def test_swap(self) -> None:
        """Members take turns, or do not."""
        self.assert_evicted("a", "b", "b")
        self.assert_evicted("c", "d", "")
        self.assert_evicted("e", "f", "f")

    def test_exclusive(self) -> None:
        """An exclusive group evicts the others, a modest one leaves them."""
        self.assert_evicted("c", "a d e x", "a e x")
        self.assert_evicted("e", "a c x", "")

    def test_persistent(self) -> None:
        """A persistent group is left alone, but evicts others itself."""
        for model in "acex":
            self.assert_evicted(model, "g", "")
        self.assert_evicted("g", "a c e x", "a c e x")

    def test_in_no_group(self) -> None:
        """Where there are groups, the models in none of them behave as a group with the defaults."""
        self.assert_evicted("x", "a c e y", "a c e y")
        self.assert_evicted("a", "x y", "x y")


class SwapTests(SchedulerCase):
    """The scheduler with groups."""

    models = "a b c d e f g quiet"
    routing = groups_of(**GROUPS, quiet=group("quiet", persistent=True, exclusive=False))

    def test_side_by_side(self) -> None:
        """Members of a group without `swap` load at the same time."""
        self.assertEqual(self.ask("c")[1], [Start("c")])
        self.assertEqual(self.ask("d")[1], [Start("d")])

    def test_never_two_of_a_swapping_group(self) -> None:
        """However requests alternate, one member waits for the end of the other."""
        tickets = [self.ask(name) for name in "abab"]
        self.assertEqual([commands for _, commands in tickets], [[Start("a")], [], [], []])
        served = [tickets[0][0], tickets[2][0]]
        self.assertEqual(self.scheduler.ready("a"), [Serve(ticket) for ticket in served])
        self.assertEqual(self.scheduler.released(served[0]), [])
        self.assertEqual(self.scheduler.released(served[1]), [Stop("a", "b")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])

    def test_a_modest_model_comes_and_is_sent_away(self) -> None:
        """Loading a model of a group that is not exclusive leaves others; a request for one of these stops it."""
        self.load("a")
        modest = self.serve("e")
        waiting, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.released(modest), [Stop("e", "a"), Serve(waiting)])

    def test_a_modest_model_cannot_starve(self) -> None:
        """Once a request has waited too long, no new one uses the model that must go for it."""
        busy = self.serve("e")
        older, commands = self.ask("a")
        self.assertEqual(commands, [])
        early, commands = self.ask("e", arrived=MAX_WAIT / 2)
        self.assertEqual(commands, [Serve(early)])
        self.assertEqual(self.ask("e", arrived=MAX_WAIT)[1], [])
        self.scheduler.released(busy)
        self.assertEqual(self.scheduler.released(early), [Stop("e", "a")])
        self.scheduler.stopped("e")
        self.assertEqual(self.scheduler.ready("a")[0], Serve(older))

    def test_a_persistent_model_is_always_served(self) -> None:
        """Whatever is swapped, requests for a persistent model go through."""
        self.load("a", "quiet")
        self.ask("b")
        ticket, commands = self.ask("quiet", arrived=2 * MAX_WAIT)
        self.assertEqual(commands, [Serve(ticket)])


class DisjointTests(SchedulerCase):
    """Two groups that have nothing to do with each other."""

    models = "a b c d"
    routing = groups_of(one=group("a b", exclusive=False), two=group("c d", exclusive=False))

    def test_swaps_in_parallel(self) -> None:
        """Neither swap waits for the other, and a slow stop in one group delays nobody in the other."""
        self.load("a", "c")
        self.assertEqual(self.ask("b")[1], [Stop("a", "b")])
        ticket, commands = self.ask("c")
        self.assertEqual(commands, [Serve(ticket)])
        self.scheduler.released(ticket)
        self.assertEqual(self.ask("d")[1], [Stop("c", "d")])
        self.assertEqual(self.scheduler.stopped("c"), [Start("d")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("b")])


class ProfileTests(SchedulerCase):
    """List profiles beside groups."""

    models = "a b c g"
    profiles: ClassVar = {"p": "a b"}
    routing = groups_of(turns=group("a b"), forever=group("g", persistent=True, exclusive=False))

    def test_override_groups(self) -> None:
        """A profile loads models together that otherwise take turns, and stops the rest, but nothing persistent."""
        self.load("c", "g")
        self.assertEqual(self.ask("p:a")[1], [Stop("c", "a")])
        self.assertEqual(self.scheduler.stopped("c"), [Start("a"), Start("b")])
        self.scheduler.ready("a")
        ticket, commands = self.ask("p:a")
        self.assertEqual(commands, [Serve(ticket)])

    def test_groups_again(self) -> None:
        """A plain request goes by the groups."""
        self.ask("p:a")
        self.scheduler.ready("b")
        ticket = self.scheduler.ready("a")[0].ticket
        self.scheduler.released(ticket)
        plain, commands = self.ask("a")
        self.assertEqual(commands, [Stop("b", "a"), Serve(plain)])


class AddressTests(SchedulerCase):
    """Models at one address, in a group whose members run side by side."""

    models = "a b c twin"
    routing = groups_of(side=group("a b c twin", swap=False))

    def test_take_turns(self) -> None:
        """They never run at the same time."""
        self.load("a", "c")
        self.assertEqual(self.ask("twin")[1], [Stop("c", "twin")])
        self.assertEqual(self.scheduler.stopped("c"), [Start("twin")])
