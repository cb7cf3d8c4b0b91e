"""What the web room stands on, faked: a router that grants leases when a test says so, and the site around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import field, frozen
from klein import Klein
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.task import Clock
from twisted.web.resource import IResource

from llama_swap.access.gate import Gate
from llama_swap.config.model import Config, ModelConfig
from llama_swap.errors import Conflict, NotFound, SwapError
from llama_swap.metrics.inflight import InFlight
from llama_swap.metrics.records import Records, Retention
from llama_swap.metrics.watcher import HardwareWatch
from llama_swap.relay.pool import Pool
from llama_swap.routing.names import Names
from llama_swap.routing.peers import Peers
from llama_swap.routing.selection import UP
from llama_swap.routing.upstream import Mishap
from llama_swap.scheduling.commands import Target
from llama_swap.server.site import SwapSite
from llama_swap.web import failures
from llama_swap.web.paths import POLLED, names_model_in_body
from llama_swap.web.routes import Routes
from tests.fakes import Inline
from tests.fakes_wire import Upstream


class FakeLease:
    """The right to use a model, and whether it was given back."""

    def __init__(self, model: ModelConfig) -> None:
        self.model = model
        self.released = 0
        self.used = False

    def release(self, *, used: bool = True) -> None:
        """Count; whether the model was `used` is said the first time."""
        self.used = self.used if self.released else used
        self.released += 1


class FakeUpstreams:
    """Stands for `llama_swap.routing.upstreams.Upstreams`: the models are as the test says."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.alive: dict[str, str] = {}
        self.since: dict[str, float] = {}
        self.failed: dict[str, Mishap] = {}

    def states(self) -> dict[str, str]:
        """See `Upstreams.states`."""
        return self.alive

    def ready_since(self) -> dict[str, float]:
        """See `Upstreams.ready_since`."""
        return self.since

    def mishaps(self) -> dict[str, Mishap]:
        """See `Upstreams.mishaps`."""
        return self.failed

    def running(self) -> list[tuple[ModelConfig, str]]:
        """See `Upstreams.running`."""
        return [(self._config.models[model], state) for model, state in sorted(self.alive.items())]


class FakeRouter:
    """Stands for `llama_swap.routing.router.Router`: who asks for a model waits until the test grants it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock()
        self.peers = Peers(config.peers)
        self.names = Names(config, peers=self.peers)
        self.free: set[str] = set()
        """Models for which nobody has to wait."""
        self.pending: list[tuple[Target, Deferred[FakeLease]]] = []
        self.targets: list[Target] = []
        self.cancelled = 0
        self.unheard: list[SwapError] = []
        self.upstreams = FakeUpstreams(config)
        self.unloading: Deferred[None] = Deferred()
        self.unloads = 0
        self.unloaded: list[list[str]] = []

    def acquire_now(self, target: Target) -> FakeLease | None:
        """See `Router.acquire_now`."""
        return FakeLease(self.config.models[target.model]) if target.model in self.free else None

    def acquire(self, target: Target) -> Deferred[FakeLease]:
        """See `Router.acquire`."""
        if target.if_cold is not None and self.upstreams.alive.get(target.model) not in UP:
            return fail(Conflict(target.if_cold))

        def cancel(_: object) -> None:
            self.cancelled += 1

        self.targets.append(target)
        granted: Deferred[FakeLease] = Deferred(cancel)
        self.pending.append((target, granted))
        return granted

    def acquire_again(self, lease: FakeLease, target: Target, error: SwapError) -> Deferred[FakeLease]:
        """See `Router.acquire_again`."""
        self.unheard.append(error)
        return self.acquire(target)

    def grant(self) -> FakeLease:
        """Let the request that waits longest through."""
        target, granted = self.pending.pop(0)
        lease = FakeLease(self.config.models[target.model])
        granted.callback(lease)
        return lease

    def activate(self, profile: str | None) -> None:
        """See `Router.activate`."""
        if profile is not None and profile not in self.config.pin_profiles:
            raise NotFound(profile)
        self.names = Names(self.config, profile, peers=self.peers)

    def waiting(self) -> int:
        """See `Router.waiting`."""
        return len(self.pending)

    def unload(self, models: Iterable[str]) -> Deferred[None]:
        """See `Router.unload`; it takes no time."""
        self.unloaded.append(list(models))
        return succeed(None)

    def unload_all(self) -> Deferred[None]:
        """See `Router.unload_all`."""
        self.unloads += 1
        return gatherResults([self.unloading], consumeErrors=True).addCallback(lambda _: None)


@frozen
class Endpoints:
    """The upstream of every model, and which URLs were asked for."""

    upstream: Upstream = field(factory=Upstream)
    urls: list[str] = field(factory=list)
    timeouts: list[float] = field(factory=list)
    keepalives: list[float] = field(factory=list)
    defects: list[Exception] = field(factory=list)
    """What comes instead of the next pools."""

    def pool(self, url: str, connect_timeout: float = 30, keepalive: float = 30) -> Pool:
        """See `Dialer.pool`."""
        self.urls.append(url)
        self.timeouts.append(connect_timeout)
        self.keepalives.append(keepalive)
        if self.defects:
            raise self.defects.pop()
        return self.upstream.pool()


def unrecorded() -> Records:
    """Return records that hardly anything is kept in."""
    return keep_records(Clock(), Retention())


def unwatched() -> InFlight:
    """Return a registry of requests behind which nothing is kept."""
    return unrecorded().in_flight


def keep_records(clock: Clock, retention: Retention, time_of_day: Callable[[], float] | None = None) -> Records:
    """Return records whose work is done at once; if nothing else is said, the clock counts from 1970."""
    now = time_of_day or clock.seconds
    return Records.keep(clock, Inline(), retention, HardwareWatch(clock, Inline(), time_of_day=now), now)


def models(*names: str, **changes: Any) -> dict[str, ModelConfig]:
    """Return models of these names."""
    return {
        name: ModelConfig(**{"id": name, "cmd": ("serve", name), "proxy": "http://127.0.0.1:5800", **changes})
        for name in names
    }


def site_of(
    root: IResource, clock: Clock | None = None, *, max_body: int = 1000, log: bool = False, **config: Any
) -> SwapSite:
    """Return the proxy's site around a resource, with or without an access log; `config` changes other settings."""
    settings = Config(models={}, max_request_body=max_body, log_requests=log, **config)
    return SwapSite(Gate(root, settings), clock or Clock(), settings, names_model=names_model_in_body, polled=POLLED)


def app_with(*add: Callable[[Klein], None]) -> Klein:
    """Return an app with routes, whose errors are answered as the proxy does."""
    app = Routes()
    failures.add_to(app)
    for add_to in add:
        add_to(app)
    return app
