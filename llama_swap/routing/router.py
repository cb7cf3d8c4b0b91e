"""Carries out what the scheduler decides, and hands out leases.

The scheduler's commands and the processes' events meet here.  Which processes there are, and whether they still match
the configuration, is kept in `upstreams`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import ClassVar

from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import Config, ModelConfig
from llama_swap.errors import NotFound, SwapError
from llama_swap.routing.difference import Difference, is_served
from llama_swap.routing.idle import IdleTimer
from llama_swap.routing.lease import Lease
from llama_swap.routing.names import Names
from llama_swap.routing.observer import Observer, Unobserved
from llama_swap.routing.peers import PeerModel, Peers
from llama_swap.routing.selection import Usage
from llama_swap.routing.turns import InTurn
from llama_swap.routing.upstream import Upstream
from llama_swap.routing.upstreams import Upstreams
from llama_swap.routing.vacancy import Vacancy
from llama_swap.scheduling.commands import Command, Drop, Reject, Serve, Start, Stop, Target, Ticket
from llama_swap.scheduling.fifo import FIFOScheduler
from llama_swap.scheduling.rules import rules_of
from llama_swap.upstream.launcher import ExitStatus, Launcher
from llama_swap.upstream.machine import Core, Readiness, new_process


class Router:
    """Owns every model's process, and decides with the scheduler who may use them."""

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        config: Config,
        clock: IReactorTime,
        launcher: Launcher,
        readiness: Readiness,
        read_ahead: Callable[[ModelConfig], None] = lambda model: None,
        *,
        observer: Observer | None = None,
    ) -> None:
        """`read_ahead` may prepare the start of a model while another one still stops for it."""
        self.config = config
        self.peers = Peers(config.peers, self._notice_quiet)
        self.names = Names(config, usage=self._usage, peers=self.peers)
        self.clock = clock
        self._read_ahead = read_ahead
        self._launcher = launcher
        self._readiness = Vacancy(readiness, lambda at: self.upstreams.leaving(at))  # noqa: PLW0108 -- none are there yet
        self._observer: Observer = observer or Unobserved()
        self._scheduler = FIFOScheduler(rules_of(config))
        self.upstreams = Upstreams(config, clock, self._upstream, self._overdue)
        self._waiting: dict[Ticket, Deferred[Lease]] = {}
        self._execute = InTurn(self._carry_out)
        self._awaiting_quiet: list[Deferred[None]] = []
        self.unloading: Callable[[Collection[str]], None] = lambda models: None
        """Called with models just before they are unloaded."""

    def _upstream(self, model: ModelConfig) -> Upstream:
        core = Core(model, self._launcher, self._readiness, self)
        return Upstream(core, new_process(core), IdleTimer(self.clock, model.ttl, partial(self._expired, model.id)))

    # -- what users may do ------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many requests wait for a model."""
        return self._scheduler.waiting()

    def activate(self, profile: str | None) -> None:
        """Apply the pins of a profile from now on, or none.

        @raise NotFound: there is no such profile.
        """
        if profile is not None and profile not in self.config.pin_profiles:
            raise NotFound(f"no profile {profile!r} with pins here; GET /api/profiles lists what there is")
        self.names = Names(self.config, profile, self._usage, self.peers)
        self._log.info("active profile: {profile}", profile=profile or "none")

    def _usage(self, target: Target | PeerModel) -> Usage:
        if isinstance(target, PeerModel):
            return Usage(requests=self.peers.requests(target))
        model, scheduler = target.model, self._scheduler
        return Usage(self.upstreams[model].state, scheduler.in_flight(model) + scheduler.waiting(model))

    def acquire_now(self, target: Target) -> Lease | None:
        """Return a lease if there is nothing to wait for; else None, without any effect."""
        ticket = Ticket(target, self.clock.seconds())
        return self._lease(ticket) if not self._execute.busy and self._scheduler.try_serve(ticket) else None

    def acquire(self, target: Target) -> Deferred[Lease]:
        """Fire with a lease on `target`, once it is ready; what must stop and start for that begins now.

        Fails with the SwapError for the client.  Cancel it when the client leaves.
        """
        now = self.clock.seconds()
        if target.model not in self.config.models:
            return fail(NotFound(f"model {target.model} was taken out of the configuration"))
        upstream = self.upstreams[target.model]
        if target.if_cold is None and upstream.state == "stopped" and (refusal := upstream.backoff.refusal(now)):
            return fail(refusal)
        ticket = Ticket(target, now)
        granted: Deferred[Lease] = Deferred(lambda _: self._cancelled(ticket))
        self._waiting[ticket] = granted
        self._execute(self._scheduler.requested(ticket))
        return granted

    def acquire_again(self, lease: Lease, target: Target, error: SwapError) -> Deferred[Lease]:
        """Do the same for a request that was sent with `lease`, and failed with `error` before anything heard it.

        If the model has crashed, of which we may hear a little later than of the failed request, it is started again;
        else this fails with `error`.
        """
        upstream = self.upstreams.get(target.model)
        if upstream is None or upstream.crashes != lease.crashes:
            return self.acquire(target)
        if upstream.state != "ready":
            return fail(error)  # it was stopped on purpose

        def not_crashed(failure: Failure) -> Failure:
            return failure if failure.check(CancelledError) else Failure(error)

        return upstream.next_crash(self.clock).addCallbacks(lambda _: self.acquire(target), not_crashed)

    def unload(self, models: Iterable[str]) -> Deferred[None]:
        """Stop `models`, even if they are in use.  Fires when none of their processes is left."""
        unwanted = {model: self.upstreams[model] for model in models}
        self.unloading(unwanted)
        for upstream in unwanted.values():
            upstream.backoff.reset()
        ends = [upstream.end() for upstream in unwanted.values()]  # before anything stops: others may start then
        self._execute(self._scheduler.unloaded(*unwanted))
        return gatherResults(ends, consumeErrors=True).addCallback(lambda _: None)

    def unload_all(self) -> Deferred[None]:
        """Stop every model."""
        return self.unload(tuple(self.upstreams))

    def kill_all(self) -> None:
        """Kill every model that is still there."""
        self.upstreams.kill_all()

    def follow(self, config: Config) -> Difference:
        """Serve `config` from now on; unchanged models go on undisturbed.

        A model that was changed or removed may finish its answers, for `RETIREMENT` seconds at most.
        """
        difference = Difference.between(self.config, config)
        self.config = config
        self.peers.follow(config.peers)
        self.names = Names(config, usage=self._usage, peers=self.peers)
        retiring = self.upstreams.follow(config)
        lost = {ticket for ticket in self._waiting if not is_served(ticket.target, config)}
        self._execute(self._scheduler.reconfigured(rules_of(config), stale=retiring, lost=lost))
        self.upstreams.set_deadlines(retiring)
        return difference

    def close(self) -> Deferred[None]:
        """Take no more requests, and stop models that load or are idle.  Fires when the last answer has ended."""
        self.peers.closed = True
        self._execute(self._scheduler.closed())
        quiet: Deferred[None] = Deferred()
        self._awaiting_quiet.append(quiet)
        self._notice_quiet()
        return quiet

    # -- what processes report (`Listener`) -------------------------------------------------------------------

    def ready(self, model: str) -> None:
        """See `Listener.ready`."""
        self._observer.ready(model)
        self.upstreams[model].ready(self.clock.seconds())
        self._execute(self._scheduler.ready(model))

    def failed(self, model: str, error: SwapError) -> None:
        """See `Listener.failed`."""
        self._observer.failed(model)
        self.upstreams[model].failed(error, self.clock.seconds())
        self._execute(self._scheduler.failed(model, error))

    def ending(self, model: str, status: ExitStatus) -> None:
        """See `Listener.ending`."""
        self._scheduler.ending(model)
        self.upstreams[model].crashed(status, self.clock.seconds())

    def gone(self, model: str) -> None:
        """See `Listener.gone`."""
        self._observer.gone(model)
        upstream = self.upstreams[model]
        self.upstreams.renew(model)
        self._execute(self._scheduler.stopped(model))
        upstream.ended()

    # -- carrying out -----------------------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        match command:
            case Serve(ticket):
                self._serve(ticket)
            case Reject(ticket, error):
                if (granted := self._waiting.pop(ticket, None)) is not None:
                    granted.errback(error)
            case Stop(model, successor):
                if successor is not None:
                    self._log.info("swapping {model} for {successor}", model=model, successor=successor)
                self._observer.stopping(model, successor)
                self.upstreams[model].stop()
                if successor is not None and self.config.read_ahead:
                    self._read_ahead(self.config.models[successor])
            case Start(model):
                self._start(model)
            case Drop(model):
                self._observer.dropped(model)

    def _start(self, model: str) -> None:
        """Start a model, unless its backoff refuses: a profile starts all of its members with every request."""
        upstream = self.upstreams[model]
        if refusal := upstream.backoff.refusal(self.clock.seconds()):
            self._observer.dropped(model)
            self._execute([*self._scheduler.failed(model, refusal), *self._scheduler.stopped(model)])
        else:
            self._observer.starting(model)
            upstream.start()

    def _serve(self, ticket: Ticket) -> None:
        lease = self._lease(ticket)
        granted = self._waiting.pop(ticket, None)
        if granted is None:
            lease.release()  # the client left at this very moment
        else:
            granted.callback(lease)

    def _lease(self, ticket: Ticket) -> Lease:
        upstream = self.upstreams[ticket.model]
        upstream.idle.stop()
        return Lease(upstream.core.model, self, ticket, upstream.crashes)

    def released(self, ticket: Ticket, *, used: bool) -> None:
        """See `Lessor.released`."""
        if commands := self._scheduler.released(ticket):  # most bring none
            self._execute(commands)
        upstream = self.upstreams.get(ticket.model)
        if upstream is not None:
            if used:
                upstream.idle.used()
            if upstream.state == "ready" and not self._scheduler.in_flight(ticket.model):
                upstream.idle.resume()
        self._notice_quiet()

    def _cancelled(self, ticket: Ticket) -> None:
        if self._waiting.pop(ticket, None) is not None:
            self._execute(self._scheduler.cancelled(ticket))

    def _expired(self, model: str) -> None:
        commands = self._scheduler.idled(model)
        upstream = self.upstreams[model]
        if commands:
            self._log.info("{model}: not used for {ttl} s (ttl), unloading", model=model, ttl=upstream.core.model.ttl)
        else:
            upstream.idle.start()  # a request waits for it, and may leave without using it
        self._execute(commands)

    def _overdue(self, model: str) -> None:
        self._log.warn("{model}: cutting answers of before its configuration changed", model=model)
        self._execute(self._scheduler.overdue(model))

    def _notice_quiet(self) -> None:
        if self._awaiting_quiet and not self._scheduler.in_flight() and not self.peers.are_busy:
            waiting, self._awaiting_quiet = self._awaiting_quiet, []
            for quiet in waiting:
                quiet.callback(None)
