"""Nobody is starved: every state of a tiny world is visited, with clients that do their worst.

One ticket X waits, and has waited for `max_wait` already.  Others come and leave as they like, answers end, models
load, fail, crash and leave, in every possible order.  X is starved if the world can go round in a circle in which some
work is done, none that could be done is left undone for ever, and X still waits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from attrs import evolve, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Routing
from llama_swap.scheduling.commands import Ticket
from llama_swap.scheduling.fifo import FIFOScheduler
from llama_swap.scheduling.queue import Queue
from llama_swap.scheduling.rules import Rules, rules_of
from tests.fakes import make_config
from tests.support_scheduling import ERROR, MAX_WAIT, group, groups_of, matrix_of, target_for

Name = str


@frozen
class State:
    """All that a scheduler knows, as a value."""

    queue: tuple[tuple[Name, bool], ...]
    """What each waiting ticket asks for, and whether it came when X had waited too long."""
    loading: frozenset[tuple[str, frozenset[str]]] = frozenset()
    ready: frozenset[str] = frozenset()
    stopping: frozenset[str] = frozenset()
    serving: frozenset[tuple[str, int]] = frozenset()


Edge = tuple[State, str]
"""Where an event leads, and which model did its work with it; empty for what nobody can count on."""


@frozen
class TinyWorld:
    """Models, what newcomers may ask for, and what X asks for."""

    models: str
    profiles: dict[str, str]
    newcomers: tuple[Name, ...]
    x: Name
    limit: int = 1
    max_wait: float = MAX_WAIT
    routing: Routing | None = None
    rules: Rules = field(init=False)

    @rules.default
    def _(self) -> Rules:
        config = make_config(self.models.split(), self.profiles, self.routing, concurrency_limit=self.limit)
        return evolve(rules_of(config), max_wait=self.max_wait)

    def starved(self) -> list[str]:
        """Return a description of each circle in which X starves."""
        early = self._reachable([State(())], self.newcomers, late=False)
        with_x = self._reachable((self._after(state, "request", self.x) for state in early), self.newcomers, late=False)
        waiting = [state for state in with_x if self._waits(state)]
        return [*_unfair_circles(self._reachable(waiting, self.newcomers, late=True))]

    def _waits(self, state: State) -> bool:
        return (self.x, False) in state.queue

    def _reachable(
        self, starts: Iterable[State], newcomers: tuple[Name, ...], *, late: bool
    ) -> dict[State, list[Edge]]:
        """Return every state that can follow, with its edges; once it is late, only those in which X waits."""
        edges: dict[State, list[Edge]] = {}
        unseen = list(starts)
        while unseen:
            state = unseen.pop()
            if state not in edges and not (late and not self._waits(state)):
                edges[state] = [*self._edges(state, newcomers, late=late)]
                unseen += [following for following, _ in edges[state]]
        return edges

    def _edges(self, state: State, newcomers: tuple[Name, ...], *, late: bool) -> Iterator[Edge]:
        for name in newcomers:
            yield self._after(state, "request", name, late=late), ""
        for index, (name, _) in enumerate(state.queue):
            if name != self.x:
                yield self._after(state, "cancelled", index), ""
        for model, _ in state.serving:
            yield self._after(state, "released", model), model
        for model, awaited in state.loading:
            if not awaited:
                yield self._after(state, "ready", model), model
                yield self._after(state, "failed", model), model
        for model in state.stopping:
            yield self._after(state, "stopped", model), model
        for model in state.ready:
            yield self._after(state, "stopped", model), ""  # a crash, which no model owes

    def _after(self, state: State, event: str, what: Name | int, *, late: bool = False) -> State:
        """Return the state after one event."""
        tickets = {Ticket(target_for(name), MAX_WAIT * came_late): name for name, came_late in state.queue}
        queue = Queue()
        for ticket in tickets:
            queue.add(ticket, ticket.arrived)
        scheduler = FIFOScheduler(
            self.rules,
            queue,
            {model: set(awaited) for model, awaited in state.loading},
            set(state.ready),
            set(state.stopping),
            Counter(dict(state.serving)),
        )
        match event, what:
            case "request", str(name):
                tickets[ticket := Ticket(target_for(name), MAX_WAIT * late)] = name
                scheduler.requested(ticket)
            case "cancelled", int(index):
                scheduler.cancelled([*tickets][index])
            case "released", str(model):
                scheduler.released(Ticket(target_for(model), 0.0))
            case "failed", str(model):
                scheduler.failed(model, ERROR)
            case _, str(model):
                getattr(scheduler, event)(model)
        return State(
            tuple((tickets[ticket], ticket.arrived > 0) for ticket in queue.take()),
            frozenset((model, frozenset(awaited)) for model, awaited in scheduler._loading.items()),
            frozenset(scheduler._ready),
            frozenset(scheduler._stopping),
            frozenset(scheduler._serving.items()) - {(model, 0) for model in scheduler._serving},
        )


def _unfair_circles(edges: dict[State, list[Edge]]) -> Iterator[str]:
    """Describe each strongly connected part in which every model that has work to do does some."""
    for part in _connected(edges):
        working = {model for state in part for following, model in edges[state] if model and following in part}
        owing = set.intersection(*({model for _, model in edges[state] if model} for state in part))
        if working and owing <= working:
            yield f"{len(part)} states, such as {next(iter(part))}"


def _connected(edges: dict[State, list[Edge]]) -> Iterator[set[State]]:
    """Yield the strongly connected parts of a graph (Kosaraju)."""
    backwards: defaultdict[State, list[State]] = defaultdict(list)
    for state, found in edges.items():
        for following, _ in found:
            backwards[following].append(state)
    finished: list[State] = []
    seen = set(backwards) - set(edges)
    for root, found in edges.items():
        stack = [(root, iter(found))] if root not in seen else []
        seen.add(root)
        while stack:
            state, rest = stack[-1]
            following = next((edge[0] for edge in rest if edge[0] not in seen), None)
            if following is None:
                finished.append(stack.pop()[0])
            else:
                seen.add(following)
                stack.append((following, iter(edges[following])))
    taken: set[State] = set()
    for root in reversed(finished):
        part: set[State] = set()
        unseen = [root]
        while unseen:
            state = unseen.pop()
            if state not in taken:
                taken.add(state)
                part.add(state)
                unseen += backwards[state]
        if part:
            yield part


class FairnessTests(SynchronousTestCase):
    """Decided by looking at every state there is."""

    def assert_fair(self, world: TinyWorld) -> None:
        """Nobody can be starved in `world`."""
        self.assertEqual(world.starved(), [])

    def test_finds_starvation(self) -> None:
        """The search is able to fail: without `max_wait`, overlapping requests for one model starve another."""
        self.assertEqual(len(TinyWorld("a x", {}, ("a",), "x", limit=2, max_wait=1e9).starved()), 1)

    def test_single_models(self) -> None:
        """With one model at a time, traffic for two models cannot starve a third."""
        self.assert_fair(TinyWorld("a b x", {}, ("a", "b"), "x"))
        self.assert_fair(TinyWorld("a x", {}, ("a",), "x", limit=2))
        self.assert_fair(TinyWorld("a x", {}, ("a", "a?"), "x", limit=2))

    def test_a_profile_against_a_model(self) -> None:
        """Traffic for models that may run together cannot starve one that may run with none of them."""
        self.assert_fair(TinyWorld("a b x", {"p": "a b"}, ("p:a", "b"), "x"))

    def test_a_model_against_profiles(self) -> None:
        """A model alone gets its turn though others would keep it, or bring it, in other company."""
        self.assert_fair(TinyWorld("x b c", {"p": "x b", "q": "b c"}, ("p:b", "q:c"), "x"))

    def test_profiles_that_share_a_model(self) -> None:
        """Traffic for one profile cannot starve another, nor can members that fail again and again."""
        self.assert_fair(TinyWorld("a b x", {"p": "a b", "q": "a x"}, ("p:a", "b"), "q:x"))
        self.assert_fair(TinyWorld("a b c", {"p": "a b", "q": "a c"}, ("p:a", "p:b"), "q:a"))

    def test_groups(self) -> None:
        """Traffic for models of groups that tolerate others cannot starve one that does not tolerate them."""
        modest = groups_of(modest=group("a b", exclusive=False))
        self.assert_fair(TinyWorld("a b x", {}, ("a", "b"), "x", routing=modest))
        self.assert_fair(TinyWorld("a b x", {}, ("x", "a"), "b", routing=modest))
        apart = groups_of(one=group("a b", exclusive=False), two=group("x", persistent=True))
        self.assert_fair(TinyWorld("a b x", {}, ("a", "b"), "x", routing=apart))
        self.assert_fair(TinyWorld("a x c", {}, ("x", "c"), "a", routing=groups_of(side=group("a c", swap=False))))

    def test_matrix(self) -> None:
        """Traffic for models that fit together cannot starve one that fits with only some of them."""
        self.assert_fair(TinyWorld("a b x", {}, ("a", "b"), "x", routing=matrix_of("a b", "a x")))
        self.assert_fair(TinyWorld("a b x", {}, ("a", "b"), "x", routing=matrix_of("a b", "b x", "a x")))
        self.assert_fair(TinyWorld("a b c x", {}, ("b", "c"), "x", routing=matrix_of("x a", "x b c", "a b c")))
