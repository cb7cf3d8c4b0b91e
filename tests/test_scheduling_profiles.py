"""Which models may run together, and what a profile makes of the scheduler's decisions."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.scheduling.commands import Plan, Serve, Start, Stop, Target, Ticket
from llama_swap.scheduling.rules import rules_of
from tests.fakes import make_config
from tests.support_scheduling import ERROR, MAX_WAIT, SchedulerCase


class PolicyTests(SynchronousTestCase):
    """`ListProfiles.plan`, as a function, for models of which c and twin share an address."""

    def setUp(self) -> None:
        profiles = {"ab": "a b", "all": "a b c twin", "one": "a"}
        self.policy = rules_of(make_config(["a", "b", "c", "twin"], profiles)).policy

    def plan(self, model: str, running: str = "", profile: str | None = None) -> Plan:
        """Ask the policy."""
        return self.policy.plan(Target(model, profile), frozenset(running.split()))

    def test_one_model_alone(self) -> None:
        """A plain model keeps itself and evicts everybody else."""
        self.assertEqual(self.plan("a"), Plan())
        self.assertEqual(self.plan("a", "a b"), Plan(evict=frozenset("b")))

    def test_a_profile_together(self) -> None:
        """A profile evicts outsiders, keeps its members, and wants the missing ones."""
        self.assertEqual(self.plan("a", "b c", "ab"), Plan(evict=frozenset("c"), alongside=("b",)))

    def test_members_of_one_address_take_turns(self) -> None:
        """Of two members at one address the running one stays, unless the other one is asked for."""
        self.assertEqual(self.plan("a", "", "all").alongside, ("b", "c"))
        self.assertEqual(self.plan("a", "twin", "all"), Plan(alongside=("b", "twin")))
        self.assertEqual(self.plan("c", "twin", "all"), Plan(evict=frozenset({"twin"}), alongside=("a", "b")))

    def test_a_profile_of_one(self) -> None:
        """A profile with one member is that member alone."""
        self.assertEqual(self.plan("a", "b", "one"), Plan(evict=frozenset("b")))


class TogetherTests(SchedulerCase):
    """The scheduler with profiles: p = a b, q = a c, r = b c."""

    profiles: ClassVar = {"p": "a b", "q": "a c", "r": "b c"}

    def test_starts_all_members(self) -> None:
        """All members start side by side; the request is served as soon as its own member is ready."""
        ticket, commands = self.ask("p:a")
        self.assertEqual(commands, [Start("a"), Start("b")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(ticket)])
        self.assertEqual(self.scheduler.ready("b"), [])

    def test_keeps_a_running_member(self) -> None:
        """A member that already runs is not restarted."""
        self.load("a")
        ticket, commands = self.ask("p:a")
        self.assertEqual(commands, [Serve(ticket), Start("b")])

    def test_stops_the_rest_for_a_plain_model(self) -> None:
        """One model at a time: a plain request for a member keeps it, and stops the others."""
        self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [Stop("b", "a"), Serve(ticket)])

    def test_moves_from_profile_to_profile(self) -> None:
        """The common member stays and serves; the new one starts once the old one is gone."""
        first, _ = self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        self.scheduler.released(first)
        ticket, commands = self.ask("q:a")
        self.assertEqual(commands, [Stop("b", "a"), Serve(ticket)])
        self.assertEqual(self.scheduler.stopped("b"), [Start("c")])

    def test_waits_for_a_member_that_answers(self) -> None:
        """A request for a ready model still waits if another, that must go for it, answers somebody."""
        self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        busy, _ = self.ask("p:b")
        ticket, commands = self.ask("q:a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.released(busy), [Stop("b", "a"), Serve(ticket)])

    def test_waits_until_all_are_gone(self) -> None:
        """A model that takes the place of several starts when the last of them is gone."""
        self.scheduler.cancelled(self.ask("p:a")[0])
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        self.assertEqual(self.ask("c")[1], [Stop("a", "c"), Stop("b", "c")])
        self.assertEqual(self.scheduler.stopped("b"), [])
        self.assertEqual(self.scheduler.stopped("a"), [Start("c")])

    def test_is_not_idle_while_somebody_waits(self) -> None:
        """The idle timer of a ready model does not unload it while a request for it waits for its turn."""
        self.load("a")
        busy = self.serve_alongside("p:b")
        waiting, _ = self.ask("a")
        self.assertEqual(self.scheduler.idled("a"), [])
        self.assertEqual(self.scheduler.released(busy), [Stop("b", "a"), Serve(waiting)])

    def test_serves_though_a_neighbour_fails(self) -> None:
        """A member that cannot start answers those who want it, and is no harm to the others."""
        first, _ = self.ask("p:a")
        self.assertEqual(self.scheduler.failed("b", ERROR), [])
        self.assertEqual(self.scheduler.stopped("b"), [])
        self.assertEqual(self.scheduler.ready("a"), [Serve(first), Start("b")])

    def test_goes_on_while_a_failed_neighbour_leaves(self) -> None:
        """Who waited only for the end of a load that failed is served at once, not when its process has left."""
        first, _ = self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.released(first)
        ticket, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.failed("b", ERROR), [Serve(ticket)])

    def test_brings_a_crashed_neighbour_back(self) -> None:
        """A member that is missing starts again with the next request through the profile."""
        self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        self.scheduler.stopped("b")
        ticket, commands = self.ask("p:a")
        self.assertEqual(commands, [Serve(ticket), Start("b")])

    def test_restarts_a_member_that_is_leaving(self) -> None:
        """A member that is on its way out comes back as soon as it is gone."""
        self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        self.scheduler.idled("b")
        ticket, commands = self.ask("p:a")
        self.assertEqual(commands, [Serve(ticket)])
        self.assertEqual(self.scheduler.stopped("b"), [Start("b")])

    def test_is_fair_between_profiles(self) -> None:
        """Traffic for one profile cannot starve another that shares a member with it."""
        self.ask("p:b")
        self.scheduler.ready("a")
        self.scheduler.ready("b")
        self.assertEqual(self.ask("q:a", arrived=0.0)[1], [])
        self.assertEqual(self.ask("p:b", arrived=MAX_WAIT)[1], [])
        self.assertEqual(self.scheduler.waiting(), 2)

    def test_brings_nobody_that_is_in_the_way(self) -> None:
        """A ready model still waits, rather than bring a missing neighbour that must go for an older request."""
        busy, _ = self.ask("p:a")
        self.scheduler.ready("a")
        self.scheduler.failed("b", ERROR)
        self.scheduler.stopped("b")
        older, _ = self.ask("c")
        self.assertEqual(self.ask("p:a")[1], [])
        self.assertEqual(self.scheduler.released(busy), [Stop("a", "c")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("c")])
        self.assertEqual(self.scheduler.ready("c"), [Serve(older)])

    def test_stops_nobody_that_an_older_request_waits_for(self) -> None:
        """A ready model that may not serve yet is kept for the oldest request, though a younger could be served."""
        self.load("a")
        busy = self.serve_alongside("p:b")
        older, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.ask("b")[1], [])
        self.assertEqual(self.scheduler.released(busy), [Stop("b", "a"), Serve(older)])

    def test_does_not_swap_in_circles(self) -> None:
        """Three requests of which none may run with the next do not take their models from each other for ever."""
        self.scheduler.cancelled(self.ask("p:b")[0])
        self.scheduler.ready("a")
        older, commands = self.ask("a")  # which waits for b to finish its load, and to leave
        self.assertEqual(commands, [])
        self.assertEqual(self.ask("r:c")[1], [])
        self.assertEqual(self.scheduler.ready("b"), [Stop("b", "a"), Serve(older)])

    def serve_alongside(self, name: str) -> Ticket:
        """Have a ticket served by a model that is loaded beside those that are there."""
        ticket, commands = self.ask(name)
        self.assertEqual(commands, [Start(ticket.model)])
        self.assertEqual(self.scheduler.ready(ticket.model), [Serve(ticket)])
        return ticket
