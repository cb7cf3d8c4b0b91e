"""What a configuration makes of the scheduler: priorities, and other rules while it works."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Routing
from llama_swap.errors import NotFound, TooManyRequests
from llama_swap.scheduling.commands import Command, Drop, Reject, Serve, Start, Stop, Ticket
from llama_swap.scheduling.groups import Groups
from llama_swap.scheduling.rules import MOST_WAITING, Rules, head_starts, rules_of
from tests.fakes import make_config
from tests.support_scheduling import MAX_WAIT, SchedulerCase, group, groups_of


class HeadStartTests(SynchronousTestCase):
    """Priorities as seconds."""

    def head_starts(self, **priority: int) -> list[float]:
        """Return those of the models a, b and c."""
        config = evolve(make_config("abc", routing=Routing(priority=priority)), max_wait=10.0)
        return [head_starts(config)[model] for model in "abc"]

    def test_levels(self) -> None:
        """The highest is worth `max_wait`, the lowest nothing, whatever the numbers are."""
        self.assertEqual(self.head_starts(), [0, 0, 0])
        self.assertEqual(self.head_starts(a=7, b=7, c=7), [0, 0, 0])
        self.assertEqual(self.head_starts(c=1), [0, 0, 10])
        self.assertEqual(self.head_starts(a=-5), [0, 10, 10])
        self.assertEqual(self.head_starts(a=100, b=1), [10, 5, 0])


class PriorityTests(SchedulerCase):
    """Whose turn comes first."""

    models = "a b c d"
    routing = Routing(priority={"b": 1, "c": 2})

    def order(self, *arrivals: tuple[str, float]) -> str:
        """Return the order in which models are loaded for requests that come while `d` is busy."""
        busy = self.serve("d")
        for name, arrived in arrivals:
            self.assertEqual(self.ask(name, arrived)[1], [])
        order = ""
        commands: list[Command] = self.scheduler.released(busy)
        while commands:
            command, *commands = commands
            match command:
                case Stop(model):
                    commands += self.scheduler.stopped(model)
                case Start(model):
                    order += model
                    commands += self.scheduler.ready(model)
                case Serve(ticket):
                    commands += self.scheduler.released(ticket)
        return order

    def test_higher_first(self) -> None:
        """Of requests that came together, the highest priority goes first."""
        self.assertEqual(self.order(("a", 0), ("b", 1), ("c", 2)), "cba")

    def test_equal_priorities(self) -> None:
        """Requests of one priority keep the order in which they came."""
        self.assertEqual(self.order(("b", 0), ("a", 0), ("b", 0), ("c", 1)), "cba")

    def test_starves_nobody(self) -> None:
        """A request that came `max_wait` before one of higher priority goes first."""
        self.assertEqual(self.order(("a", 0), ("c", MAX_WAIT - 1)), "ca")
        self.scheduler.unloaded("a")
        self.scheduler.stopped("a")
        self.assertEqual(self.order(("a", 0), ("c", MAX_WAIT + 1)), "ac")


class ReconfiguredTests(SchedulerCase):
    """Other rules, while models run and requests wait."""

    def configure(
        self, names: str, routing: Routing | None = None, stale: str = "", lost: Iterable[Ticket] = ()
    ) -> list[Command]:
        """Let a configuration of these models be in force."""
        rules = rules_of(make_config(names.split(), routing=routing))
        return self.scheduler.reconfigured(rules, stale=set(stale.split()), lost=set(lost))

    def test_other_policy(self) -> None:
        """Who waited only because of the old policy goes on; what runs goes on running."""
        busy = self.serve("a")
        waiting, _ = self.ask("b")
        commands = self.configure("a b c", groups_of(side=group("a b", swap=False)))
        self.assertEqual(commands, [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(waiting)])
        self.assertEqual(self.scheduler.released(busy), [])

    def test_other_policy_before_a_start(self) -> None:
        """What only waits for others to leave is decided anew: by now, more of them may have to."""
        self.configure("a b c", groups_of(turns=group("a b", exclusive=False), side=group("c", exclusive=False)))
        self.load("a", "c")
        waiting, commands = self.ask("b")
        self.assertEqual(commands, [Stop("a", "b")])
        self.assertEqual(self.configure("a b c"), [Drop("b"), Stop("c", "b")])
        self.assertEqual(self.scheduler.stopped("a"), [])
        self.assertEqual(self.scheduler.stopped("c"), [Start("b")])
        self.assertEqual(self.scheduler.ready("b"), [Serve(waiting)])

    def test_changed_while_loading_again(self) -> None:
        """A load of what has changed ends, also while an answer of the process before has not ended."""
        self.serve("a")
        self.scheduler.unloaded("a")
        waiting, _ = self.ask("a")
        self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
        self.assertEqual(self.configure("a b c", stale="a"), [Stop("a")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(waiting)])

    def test_added_models(self) -> None:
        """A new model can be asked for."""
        self.configure("a b c new")
        self.assertEqual(self.ask("new")[1], [Start("new")])

    def test_removed_models(self) -> None:
        """Nobody waits for a removed model; it ends its answers, then it stops."""
        busy = self.serve("a")
        waiting, _ = self.ask("b")
        self.assert_rejected(self.configure("a c", lost=[waiting]), [waiting], NotFound)
        self.assertEqual(self.configure("c", stale="a"), [])
        other, _ = self.ask("c")
        self.assertEqual(self.scheduler.released(busy), [Stop("a")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("c")])
        self.assertEqual(self.scheduler.ready("c"), [Serve(other)])

    def test_changed_models(self) -> None:
        """Newcomers wait for the next process; the old one ends with its last answer."""
        busy = self.serve("a")
        self.assertEqual(self.configure("a b c", stale="a"), [])
        waiting, commands = self.ask("a")
        self.assertEqual(commands, [])
        self.assertEqual(self.scheduler.released(busy), [Stop("a")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(waiting)])

    def test_changed_while_it_loads(self) -> None:
        """Who waits for a load that has become pointless is served by the next process."""
        waiting, _ = self.ask("a")
        self.assertEqual(self.configure("a b c", stale="a"), [Stop("a")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("a")])
        self.assertEqual(self.scheduler.ready("a"), [Serve(waiting)])


class MostWaitingTests(SchedulerCase):
    """How many may wait, of all models together."""

    models = " ".join(f"m{number}" for number in range(MOST_WAITING + 2))
    limit = 1

    def test_full(self) -> None:
        """When so many wait, the next is refused, unless its model is ready; when one goes, another may come."""
        serving = self.serve("m0")
        waiting = [self.ask(f"m{number}")[0] for number in range(1, MOST_WAITING + 1)]
        ticket, commands = self.ask(f"m{MOST_WAITING + 1}")
        [refusal] = commands
        assert isinstance(refusal, Reject)
        self.assertIs(refusal.ticket, ticket)
        self.assertIsInstance(refusal.error, TooManyRequests)
        self.assertIn(f"{MOST_WAITING} wait", str(refusal.error))
        self.assertEqual(self.scheduler.waiting(), MOST_WAITING)
        self.scheduler.cancelled(waiting.pop())
        self.assertEqual(self.ask(f"m{MOST_WAITING + 1}")[1], [])
        self.scheduler.released(serving)

    def test_raised_limits(self) -> None:
        """Whoever raises the limits of models wants as many to wait."""
        for limits, most in (
            ([10] * 50, 100),
            ([1] * 500, 100),
            ([60, 30, 10], 100),
            ([60, 60, 10], 120),
            ([5000], 5000),
        ):
            rules = Rules(Groups({}), {str(number): limit for number, limit in enumerate(limits)}, MAX_WAIT)
            self.assertEqual(rules.most_waiting, most, limits)
