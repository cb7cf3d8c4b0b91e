"""The matrix: what is cheapest to evict, and what the scheduler makes of that."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.scheduling.commands import Plan, Serve, Start, Stop, Target
from llama_swap.scheduling.matrix import Combinations
from tests.support_scheduling import MAX_WAIT, SchedulerCase, matrix_of

MODELS = "abcdef"
Sets = st.lists(st.frozensets(st.sampled_from(MODELS), min_size=1, max_size=4), max_size=6)
Costs = st.dictionaries(st.sampled_from(MODELS), st.integers(1, 5))


class PolicyTests(SynchronousTestCase):
    """`Combinations.plan`, as a function."""

    def assert_evicted(self, sets: str, model: str, running: str, evicted: str, **costs: int) -> None:
        """With these sets, loading `model` while `running` are alive evicts exactly `evicted`."""
        policy = Combinations([frozenset(one) for one in sets.split()], costs)
        self.assertEqual(policy.plan(Target(model), frozenset(running)), Plan(frozenset(evicted)))

    def test_fits(self) -> None:
        """What stands in one set with the target stays; subsets are as good as whole sets."""
        self.assert_evicted("abc", "a", "", "")
        self.assert_evicted("abc", "a", "abc", "")
        self.assert_evicted("ab ac bd", "a", "c", "")

    def test_does_not_fit(self) -> None:
        """What does not goes."""
        self.assert_evicted("ab cd", "a", "bcd", "cd")
        self.assert_evicted("ab cd", "a", "x", "x")

    def test_in_no_set(self) -> None:
        """A model that is in no set runs alone."""
        self.assert_evicted("ab", "c", "ab", "ab")
        self.assert_evicted("", "c", "ab", "ab")

    def test_costs(self) -> None:
        """The cheapest way is taken, by number where nothing is said."""
        self.assert_evicted("xab xc", "x", "abc", "c")
        self.assert_evicted("xab xc", "x", "abc", "ab", c=3)

    def test_ties(self) -> None:
        """Of equally cheap ways, the set that is defined first decides."""
        self.assert_evicted("xa xb", "x", "ab", "b")
        self.assert_evicted("xb xa", "x", "ab", "a")
        self.assert_evicted("xab xc", "x", "abc", "c", c=2)

    @given(Sets, Costs, st.sampled_from(MODELS), st.frozensets(st.sampled_from(MODELS)))
    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    def test_is_cheapest(
        self, sets: list[frozenset[str]], costs: dict[str, int], model: str, running: frozenset[str]
    ) -> None:
        """No other choice of models to evict is allowed and cheaper."""

        def cost(evicted: frozenset[str]) -> int:
            return sum(costs.get(name, 1) for name in evicted)

        def allowed(evicted: frozenset[str]) -> bool:
            left = (running | {model}) - evicted
            return left == {model} or any(left <= one for one in sets)

        others = sorted(running - {model})
        choices = map(frozenset, chain.from_iterable(combinations(others, size) for size in range(len(others) + 1)))
        chosen = Combinations(sets, costs).plan(Target(model), running).evict
        self.assertTrue(allowed(chosen))
        self.assertEqual(cost(chosen), min(cost(choice) for choice in choices if allowed(choice)))


class SwapTests(SchedulerCase):
    """The scheduler with a matrix."""

    models = "a b c x"
    routing = matrix_of("x a", "x b c", "a b c")

    def test_starts_only_what_is_asked_for(self) -> None:
        """The rest of a set is not started with it."""
        self.assertEqual(self.ask("a")[1], [Start("a")])
        self.assertEqual(self.ask("b")[1], [Start("b")])

    def test_stops_the_cheapest(self) -> None:
        """Of those in the way, only what must go."""
        self.load("a", "b", "c")
        self.assertEqual(self.ask("x")[1], [Stop("a", "x")])
        self.assertEqual(self.scheduler.stopped("a"), [Start("x")])

    def test_serves_what_does_not_matter(self) -> None:
        """While one model waits for another to leave, those that may stay go on."""
        self.load("a", "b", "c")
        busy = self.serve("a")
        waiting, commands = self.ask("x")
        self.assertEqual(commands, [])
        ticket, commands = self.ask("b", arrived=2 * MAX_WAIT)
        self.assertEqual(commands, [Serve(ticket)])
        self.assertEqual(self.ask("a", arrived=2 * MAX_WAIT)[1], [])
        self.assertEqual(self.scheduler.released(busy), [Stop("a", "x")])
        self.scheduler.stopped("a")
        self.assertEqual(self.scheduler.ready("x"), [Serve(waiting)])

    def test_is_not_kept_waiting_by_turns(self) -> None:
        """Nobody may change what an overdue request waits for, such as by making another way the cheaper one."""
        self.load("a", "b")
        busy = self.serve("b")
        waiting, commands = self.ask("x")  # as it is, b goes; with c loaded, it would be cheaper to stop a
        self.assertEqual(commands, [])
        self.assertEqual(self.ask("c", arrived=MAX_WAIT)[1], [])
        self.assertEqual(self.scheduler.released(busy), [Stop("b", "x")])
        self.assertEqual(self.scheduler.stopped("b"), [Start("x")])
        self.assertEqual(self.scheduler.ready("x")[0], Serve(waiting))
