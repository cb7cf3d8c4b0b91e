"""What must hold, whatever happens: checked with every lease, refusal, start and signal, and after every step."""

from __future__ import annotations

from collections import Counter

from attrs import define, field
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from llama_swap.errors import SwapError, TooManyRequests
from llama_swap.routing.difference import stale
from llama_swap.routing.lease import Lease
from llama_swap.routing.router import Router
from llama_swap.routing.upstreams import RETIREMENT
from llama_swap.scheduling.rules import MOST_WAITING
from llama_swap.upstream.ending import KILLED_PATIENCE, LEFTOVER_GRACE
from tests.chaos.clients import Client
from tests.chaos.configs import LONGEST_UNLOAD, must_not_meet
from tests.chaos.processes import Process
from tests.chaos.system import System


@define(eq=False, slots=False)
class Laws:
    """A router, its clients and its machine, under the law."""

    clock: Clock
    system: System
    router: Router = field(init=False)
    clients: list[Client] = field(factory=list, init=False)
    breaches: list[str] = field(factory=list, init=False)
    """What was found where to raise it would only have been caught by whoever called."""
    is_closed: bool = field(default=False, init=False)
    may_be_cut: set[str] = field(factory=set, init=False)
    """Models whose answers somebody wants to be cut."""
    retiring: dict[str, float] = field(factory=dict, init=False)
    """Since when models end their answers, because their configuration has changed."""
    stopping: dict[str, float] = field(factory=dict, init=False)
    """Since when models stop."""
    met: set[frozenset[str]] = field(factory=set, init=False)
    """Pairs that were there before the configuration forbade it."""

    # -- what clients are told --------------------------------------------------------------------------------

    def granted(self, client: Client, lease: Lease) -> Process | None:
        """Only a model that is ready, and was not told to leave, serves."""
        model = lease.model.id
        state = self.router.upstreams.states().get(model)
        self._law(model == client.target.model, f"{model} instead of {client.target.model}")
        self._law(state == "ready", f"{model} is {state}, and serves")
        self._law(not self.is_closed, "served after the end")
        self._law(not stale([lease.model], self.router.config), f"{model} serves as it was before")
        server = next(iter(self.system.servers(model)), None)
        if server is not None:
            since = server.listens_from if lease.model.check_endpoint is None else server.healthy_from
            self._law(since <= self.clock.seconds(), f"{model} serves before it is ready")
            self._law(not server.signals, f"{model} was told to leave, and serves")
            self._law(server.port == lease.model.address[1], f"a lease of {model} leads elsewhere")
        return server

    def came(self, client: Client, rivals: int) -> None:
        """Nobody is let in where there is no room."""
        limit = self.router.config.models[client.target.model].concurrency_limit
        self._law(rivals < limit or client.outcome not in ("", "served"), f"{client.target.model} has no room")

    def refused(self, client: Client, error: SwapError) -> None:
        """Nobody is refused for others where there is room."""
        if isinstance(error, TooManyRequests):
            model = client.target.model
            rivals = sum(other.target.model == model for other in self.clients if other is not client)
            preloads = 1
            is_full = (
                rivals + preloads >= self.router.config.models[model].concurrency_limit
                or len(self.clients) > MOST_WAITING
            )
            self._law(is_full, f"{model} has room, and refuses")

    def broken(self, failure: Failure) -> None:
        """Nothing goes wrong on the way to a client."""
        self.breaches.append(failure.getTraceback())

    # -- what the machine is told -----------------------------------------------------------------------------

    def launched(self, server: Process) -> None:
        """A server starts as it is configured, alone at its address, and beside those only that it may be with."""
        config, shown, model = self.router.config, self.router.upstreams.states(), server.model
        self.retiring.pop(model, None)
        self.stopping.pop(model, None)
        self.may_be_cut.discard(model)
        self._law(not self.is_closed, "started after the end")
        self._law(server.port == config.models[model].address[1], f"{model} starts as it was before")
        for other in (other for other in self.system.servers() if other.model in shown and not other.is_given_up):
            self._law(other.model != model, f"there are two of {model}")
            self._law(other.port != server.port, f"{model} and {other.model} have one port")
            knew_each_other = frozenset((model, other.model)) in self.met
            is_forbidden = must_not_meet(config, model, other.model) and not knew_each_other
            self._law(not is_forbidden, f"{model} starts beside {other.model}")

    def signalled(self, server: Process) -> None:
        """Nobody who answers is told to leave, unless somebody wants that."""
        if server.alive and server.model not in self.may_be_cut:
            retires_since = self.retiring.get(server.model, self.clock.seconds())
            is_overdue = self.clock.seconds() - retires_since > RETIREMENT - 0.001
            is_used = any(client.server is server for client in self.clients if client.lease is not None)
            self._law(is_overdue or not is_used, f"{server.model} is told to leave, and answers")
            if is_overdue:
                self.may_be_cut.add(server.model)

    def forgive_overdue(self) -> None:
        """Who has retired for too long may be cut, also if the configuration is as before by then."""
        now = self.clock.seconds()
        self.may_be_cut |= {model for model, since in self.retiring.items() if now - since > RETIREMENT - 0.001}

    # -- what is, at any time ---------------------------------------------------------------------------------

    def check(self) -> None:
        """See whether all is as it must be."""
        assert not self.breaches, self.breaches[0]
        router, scheduler, shown = self.router, self.router._scheduler, self.router.upstreams.states()
        leases = Counter(client.target.model for client in self.clients if client.lease is not None)
        assert leases == +scheduler._serving, f"{leases} are served, not {scheduler._serving}"
        assert scheduler.waiting() == len(router._waiting), "who waits here does not wait there"
        if scheduler.waiting():
            moves = leases or not shown.keys().isdisjoint(self._in_motion())
            assert moves, "somebody waits, and nothing moves"
        if not scheduler._stopping:
            assert not scheduler._drain(), "somebody could go on, and nobody has looked"
        for process in self.system.processes.values():
            assert not process.is_ours or process.server.model in shown or process.server.is_given_up, (
                f"left: {process}"
            )
        for model, state in shown.items():
            if state == "ready" and not scheduler.in_flight(model) and not scheduler.waiting(model):
                upstream = router.upstreams[model]
                is_timed = upstream.idle._call is not None
                assert is_timed == (upstream.core.model.ttl > 0), f"{model} is idle, and its ttl: {is_timed}"
        self._check_retirement()
        self._check_stops(shown)
        self._forget(shown.keys() | scheduler._loading.keys())

    def _check_retirement(self) -> None:
        now = self.clock.seconds()
        for model in self.router.upstreams:
            upstream, retires = self.router.upstreams[model], model in self.router._scheduler._retiring
            is_there = upstream.state in ("ready", "stopping")
            assert is_there or upstream.idle._call is None, f"{model} is not there, and its ttl runs"
            assert is_there or upstream.deadline is None, f"{model} is not there, and has a deadline"
            is_stale = bool(stale([upstream.core.model], self.router.config))
            assert is_stale or not retires, f"{model} retires, and is as it should be"
            is_late = now - self.retiring.get(model, now) > RETIREMENT + 1
            assert not (retires and is_late), f"{model} retires for ever"

    def _check_stops(self, shown: dict[str, str]) -> None:
        """No stop takes longer than the grace of the model, and of whoever must be killed."""
        now = self.clock.seconds()
        stopping = [model for model, state in shown.items() if state == "stopping"]
        self.stopping = {model: self.stopping.get(model, now) for model in stopping}
        for model, since in self.stopping.items():
            grace = max(LONGEST_UNLOAD, self.router.upstreams[model].core.model.unload_timeout)
            patience = grace + LEFTOVER_GRACE + KILLED_PATIENCE + 1
            assert now - since < patience, f"{model} has been stopping for {now - since} s"

    def _in_motion(self) -> set[str]:
        return {model for model, state in self.router.upstreams.states().items() if state in ("starting", "stopping")}

    def _forget(self, there: set[str]) -> None:
        """Forget what was allowed for processes that are gone."""
        self.may_be_cut &= there
        self.retiring = {model: since for model, since in self.retiring.items() if model in there}
        self.met = {pair for pair in self.met if pair <= there}

    def _law(self, holds: bool, breach: str) -> None:
        if not holds:
            self.breaches.append(breach)
