"""The composition root: creates every part and connects them."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import globalLogPublisher
from twisted.web.resource import IResource

from llama_swap.access.gate import Gate
from llama_swap.config.model import Config
from llama_swap.lifecycle.reload import reloading
from llama_swap.lifecycle.remarks import Remarks
from llama_swap.lifecycle.service import SwapService
from llama_swap.lifecycle.terminal import Terminal
from llama_swap.listening.address import Address
from llama_swap.listening.port import Listening
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.logs.observer import in_reactor
from llama_swap.logs.own import OwnLines
from llama_swap.logs.printed import Printed
from llama_swap.metrics.records import Records, Retention
from llama_swap.metrics.watcher import HardwareWatch
from llama_swap.net.vanished import Vanished
from llama_swap.net.worker import Worker
from llama_swap.relay.asking import get_body, get_status
from llama_swap.relay.endpoints import Dialer
from llama_swap.routing.difference import Difference
from llama_swap.routing.discovery import Discovery
from llama_swap.routing.preload import Preload
from llama_swap.routing.router import Router
from llama_swap.server.site import SwapSite
from llama_swap.settings import Settings
from llama_swap.upstream.guard import Guard
from llama_swap.upstream.lookup import LookupFirst
from llama_swap.upstream.orphans import collect_as_process_one
from llama_swap.upstream.port_owner import owner_of
from llama_swap.upstream.process import LocalLauncher
from llama_swap.upstream.readahead import ReadAhead
from llama_swap.upstream.readiness import Prober
from llama_swap.web import failures
from llama_swap.web.activity import ActivityRoutes
from llama_swap.web.admin import AdminRoutes
from llama_swap.web.events import EventRoutes
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.monitoring import MonitoringRoutes
from llama_swap.web.passthrough import PassThrough
from llama_swap.web.paths import POLLED, names_model_in_body
from llama_swap.web.profiles import ProfileRoutes
from llama_swap.web.routes import Routes
from llama_swap.web.streams import LogRoutes
from llama_swap.web.ui import UiRoutes

YOUNG = 10_000
"""New objects after which the garbage collector looks through them.  256 streams that start at once make 14,000; after
each 700, as is Python's default, it would look twenty times, and find nothing: inference leaves no reference cycles,
and other requests, which Klein serves, only small ones."""
SWITCH_INTERVAL = 0.0001
"""Seconds for which a thread that computes may make the reactor wait, each time that it returns from the kernel.

Python's default of 5 ms is far too long: each event of a stream returns from there three times."""


def make_service(
    loop: Any,
    settings: Settings,
    announce: Callable[[str], None],
    show: Callable[[bytes], object] | None = None,
    terminal: Terminal | None = None,
) -> SwapService:
    """Create the service with all its parts.

    `show` gets the lines to print, if any are printed; the service ends when `terminal` closes.  Nothing is opened or
    spawned before the service is started.
    """
    config = settings.config
    logs, logs_follow = _logs(config, loop, show)
    remarks = Remarks(loop, _beside, settings.sources)
    remarks.tell(settings.loaded)

    records, dialer, guard = _records(settings, loop), Dialer(loop), Guard(loop)
    prober = Prober(
        loop, dialer.endpoint, partial(get_status, dialer), logs, partial(owner_of, loop), config.health_check_timeout
    )
    launcher = LocalLauncher(loop, loop, logs, guard, os.environ, secrets=config.api_keys)
    readiness = LookupFirst(prober, loop, _beside)
    router = Router(config, loop, launcher, readiness, ReadAhead(_beside).begin, observer=records.lives)
    streams = LogRoutes(logs, loop, lambda name: router.names.model_id(name))  # noqa: PLW0108 -- names change
    events = EventRoutes(router, records, logs, loop)
    gate = Gate(_root(router, dialer, records, loop, streams.add_to, events.add_to), config)
    site = SwapSite(gate, loop, config, names_model=names_model_in_body, polled=POLLED)

    def close_streams() -> None:
        streams.close()
        events.close()
        site.end_tunnels()

    preload = Preload(router)
    listening = Listening(settings.address, loop, lambda at: _opened(at, listening.address, router, gate, remarks))
    discovery = Discovery(router.peers, loop, partial(get_body, dialer), partial(get_status, dialer))

    def apply(config: Config, retention: Retention) -> Difference:
        launcher.secrets = config.api_keys  # before anything is launched
        difference = router.follow(config)
        gate.follow(config)
        site.follow(config)
        records.follow(retention)
        logs_follow(config)
        prober.timeout = config.health_check_timeout
        discovery.follow()
        preload.load(model for model in config.preload if model in difference.added)
        return difference

    reload, watching = reloading(
        loop,
        settings,
        listening,
        ports=router.upstreams.ports,
        prepare=records.prepared,
        apply=apply,
        remark=remarks.tell,
    )
    loop.callWhenRunning(_settle, loop)
    return SwapService(
        loop,
        site,
        router,
        listening=listening,
        reload=reload,
        close_streams=close_streams,
        dismiss_guard=guard.stop,
        close_records=records.close,
        announce=announce,
        environ=os.environ,
        terminal=terminal,
        beside=[preload, discovery, *watching, records.hardware, Vanished(loop)],
    )


def _logs(
    config: Config, loop: Any, show: Callable[[bytes], object] | None
) -> tuple[Broadcaster, Callable[[Config], None]]:
    """Return the broadcaster of all lines, our own included, and a function that applies a configuration to it."""
    logs, lines = Broadcaster(), OwnLines(config.log_level, config.log_time_format)
    globalLogPublisher.addObserver(lines.observer(in_reactor(loop, logs.publish_proxy)))
    printed = None if show is None else Printed(logs, show)

    def follow(config: Config) -> None:
        lines.follow(config.log_level, config.log_time_format)
        if printed is not None:
            printed.follow(config.log_to_stdout)
        for model in config.models:
            logs.writer(model)  # so that the log page also lists models that have printed nothing yet

    follow(config)
    return logs, follow


def _beside(work: Callable[[], None]) -> None:
    """Run a function that may wait for disks in a thread; the end of the process does not wait for it."""
    threading.Thread(target=work, name="beside", daemon=True).start()


def _settle(loop: Any) -> None:
    """Do what must come after any fork, and set up the interpreter so that the reactor never waits long.

    All present objects are exempted from garbage collection, which would look through them for 30 ms each time, and
    which is rare from now on.
    """
    collect_as_process_one(loop)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _records(settings: Settings, loop: Any) -> Records:
    """Make the records of requests."""
    hardware = HardwareWatch(loop, Worker(loop, "hardware"))
    retention = Retention.of(settings.config, settings.flags.base).numbered()
    return Records.keep(loop, Worker(loop, "activity"), retention, hardware)


def _root(router: Router, dialer: Dialer, records: Records, loop: Any, *more: Callable[[Any], None]) -> IResource:
    """Return the root resource with all routes; each of `more` adds its own."""
    app = Routes()
    failures.add_to(app)
    forwarder = Forwarder(router, dialer, records.in_flight)
    inference = InferenceRoutes(forwarder, Worker(loop, "filters"))
    inference.add_to(app)
    PassThrough(forwarder).add_to(app)
    ProfileRoutes(router).add_to(app)
    AdminRoutes(router, created=int(time.time())).add_to(app)
    showing, inventory = Worker(loop, "metrics"), Worker(loop, "inventory")
    ActivityRoutes(records, showing).add_to(app)
    MonitoringRoutes(router.upstreams.states, records, expose=showing, explore=inventory).add_to(app)
    UiRoutes(router).add_to(app)
    for add_to in more:
        add_to(app)
    return Front(app, inference.direct())


def _opened(at: IAddress, address: Address, router: Router, gate: Gate, remarks: Remarks) -> None:
    """Judge clients by the address at which the proxy listens, and log what is served there."""
    gate.listens_at(at)
    remarks.introduce(router.config, address, at)
