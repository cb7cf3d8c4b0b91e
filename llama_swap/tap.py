"""The composition root: every part is made and wired here, and only here the reactor is known."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger, globalLogBeginner, globalLogPublisher
from twisted.python import usage

from llama_swap import __version__
from llama_swap.errors import SwapError
from llama_swap.lifecycle.remarks import Remarks
from llama_swap.listening.address import DEFAULT_ADDRESS, DEFAULT_TLS_ADDRESS, try_to_listen
from llama_swap.metrics.store import prepare
from llama_swap.settings import Flags, Settings, explained, with_double_dashes

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.web.resource import IResource

    from llama_swap.config.model import Config
    from llama_swap.lifecycle.service import SwapService
    from llama_swap.lifecycle.terminal import Terminal
    from llama_swap.listening.address import Address
    from llama_swap.logs.broadcaster import Broadcaster
    from llama_swap.metrics.records import Records, Retention
    from llama_swap.relay.endpoints import Dialer
    from llama_swap.routing.difference import Difference
    from llama_swap.routing.router import Router
    from llama_swap.web.gate import Gate

_log = Logger()


class Options(usage.Options):
    """What `twistd llama-swap` takes."""

    synopsis = "[options] [FILE]"
    longdesc = (
        "llama-swap starts the model server that a request names, stops the one in its way, and relays request "
        "and answer.  Models are described in a YAML file; `llama-swap --help` shows the shortest one."
    )
    optParameters = (
        ("config", "c", None, "The YAML file that describes the models."),
        ("config-dir", None, None, "A directory whose *.yml and *.yaml files are added to it."),
        ("listen", "l", None, f"HOST:PORT, :PORT or a Twisted endpoint string; default {DEFAULT_ADDRESS}."),
        ("tls-cert-file", None, None, f"The certificate, in PEM: serve TLS; default address {DEFAULT_TLS_ADDRESS}."),
        ("tls-key-file", None, None, "Its key, in PEM."),
    )
    optFlags = (("watch-config", None, "Reload when a file of the configuration, or the certificate, changes."),)

    settings: Settings

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """See `usage.Options.parseOptions`; one dash will do."""
        super().parseOptions(list(with_double_dashes(options or ())))

    def parseArgs(self, file: str | None = None) -> None:
        """Take a file, which is the same as --config FILE."""
        if file is not None and self["config"] is not None:
            raise usage.UsageError(f"one file, please, instead of {self['config']} and {file}")
        self["config"] = self["config"] or file

    def opt_version(self) -> None:
        """Print the version of llama-swap, and exit."""
        print(f"llama-swap {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read the configuration, here, where an error still ends twistd with a message instead of a traceback."""
        flags = {name.replace("-", "_"): value for name, value in self.items()}
        try:
            self.settings = read_settings(Flags(**{**flags, "watch_config": bool(flags["watch_config"])}))
        except SwapError as error:
            sys.exit(explained(error))  # a UsageError would hide it behind a page of twistd's options


def read_settings(flags: Flags) -> Settings:
    """Read the configuration, and try what it names outside itself, while an error can still be told in one message.

    @raise SwapError: nothing can be served like this.
    """
    settings = Settings.read(flags)
    try_to_listen(settings.address.text)
    settings.address.endpoint(_reactor())
    if (store := settings.config.store.path) is not None:
        prepare(store)
    return settings


def makeService(options: Options) -> SwapService:
    """Make the service for twistd; its log gets a line when it listens."""
    return make_service(options.settings, lambda text: _log.info("{text}", text=text))


def run_in_foreground(settings: Settings, greeting: str) -> None:
    """Serve until a signal ends it.  `greeting` is shown once the proxy listens."""
    from llama_swap.lifecycle.terminal import Terminal
    from llama_swap.logs.console import ConsoleWriter

    loop, console = _reactor(), ConsoleWriter(1)

    def announce(text: str) -> None:
        console.write("".join(f"{part}\n" for part in (text, greeting) if part).encode())

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    service = make_service(settings, announce, console.write, Terminal.at_start(loop))
    service.startService()
    loop.addSystemEventTrigger("before", "shutdown", service.stopService)
    loop.run()
    console.close()


def make_service(
    settings: Settings,
    announce: Callable[[str], None],
    show: Callable[[bytes], object] | None = None,
    terminal: Terminal | None = None,
) -> SwapService:
    """Make every part, and wire them.

    `show` gets the lines that are to be printed, unless somebody else does that; with the `terminal`, the service ends.
    Nothing is opened or spawned before the service is started.
    """
    from llama_swap.lifecycle.reload import reloading
    from llama_swap.lifecycle.service import SwapService
    from llama_swap.listening.port import Listening
    from llama_swap.metrics.worker import Worker
    from llama_swap.net.vanished import Vanished
    from llama_swap.relay.asking import get_body, get_status
    from llama_swap.relay.endpoints import Dialer
    from llama_swap.routing.discovery import Discovery
    from llama_swap.routing.preload import Preload
    from llama_swap.routing.router import Router
    from llama_swap.upstream.guard import Guard
    from llama_swap.upstream.port_owner import owner_of
    from llama_swap.upstream.process import LocalLauncher
    from llama_swap.upstream.readahead import ReadAhead
    from llama_swap.upstream.readiness import Prober
    from llama_swap.web.api import ApiRoutes
    from llama_swap.web.site import SwapSite
    from llama_swap.web.streams import LogRoutes

    loop, config = _reactor(), settings.config
    logs, logs_follow = _logs(config, loop, show)
    remarks = Remarks(loop, _beside, settings.sources)
    remarks.tell(settings.loaded)

    records, dialer, guard = _records(settings, loop), Dialer(loop), Guard(loop)
    prober = Prober(
        loop, dialer.endpoint, partial(get_status, dialer), logs, partial(owner_of, loop), config.health_check_timeout
    )
    launcher = LocalLauncher(loop, loop, logs, guard, os.environ, secrets=config.api_keys)
    router = Router(config, loop, launcher, prober, ReadAhead(_beside).begin, observer=records.lives)
    streams = LogRoutes(logs, loop, lambda name: router.names.model_id(name))  # noqa: PLW0108 -- names change
    api = ApiRoutes(router, records, logs, loop, Worker(loop, "metrics", may_hang=True))
    site = SwapSite(_root(router, dialer, records, loop, streams.add_to, api.add_to), loop, config)

    def close_streams() -> None:
        streams.close()
        api.close()
        site.end_tunnels()

    preload = Preload(router)
    listening = Listening(settings.address, loop, lambda at: _opened(at, listening.address, router, site.gate, remarks))
    discovery = Discovery(router.peers, loop, partial(get_body, dialer), partial(get_status, dialer))

    def apply(config: Config, retention: Retention) -> Difference:
        launcher.secrets = config.api_keys  # before anything is launched
        difference = router.follow(config)
        site.follow(config)
        records.follow(retention)
        logs_follow(config)
        prober.timeout = config.health_check_timeout
        discovery.follow()
        preload.load(model for model in config.preload if model in difference.added)
        return difference

    reload, watching = reloading(
        loop, settings, router, listening, prepare=records.prepared, apply=apply, remark=remarks.tell
    )
    loop.callWhenRunning(_settle)
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
    """Return where all lines go, our own from now on and those of the models, and what has it heed a configuration."""
    from llama_swap.logs.broadcaster import Broadcaster
    from llama_swap.logs.observer import in_reactor
    from llama_swap.logs.own import OwnLines
    from llama_swap.logs.printed import Printed

    logs, lines = Broadcaster(), OwnLines(config.log_level, config.log_time_format)
    globalLogPublisher.addObserver(lines.observer(in_reactor(loop, logs.publish_proxy)))
    printed = None if show is None else Printed(logs, show)

    def follow(config: Config) -> None:
        lines.follow(config.log_level, config.log_time_format)
        if printed is not None:
            printed.follow(config.log_to_stdout)
        for model in config.models:
            logs.writer(model)  # so that the log page offers models that have said nothing yet

    follow(config)
    return logs, follow


def _beside(work: Callable[[], None]) -> None:
    """Run something that may wait for disks; the end of the process need not wait for it."""
    threading.Thread(target=work, name="beside", daemon=True).start()


def _reactor() -> Any:
    """Return the reactor: our own, unless something else has chosen one before, as `twistd --reactor` does."""
    from llama_swap.net.reactor import install

    install()
    from twisted.internet import reactor

    return reactor


def _settle() -> None:
    """Do what only the process does that stays, and spare the garbage collector what is there to stay as well.

    Looking through all of that would hold everybody up for 30 ms.
    """
    from llama_swap.upstream.orphans import collect_as_process_one

    collect_as_process_one(_reactor())
    gc.collect()
    gc.freeze()


def _records(settings: Settings, loop: Any) -> Records:
    """Begin to remember what models are asked."""
    from llama_swap.metrics.records import Records, Retention
    from llama_swap.metrics.watcher import HardwareWatch
    from llama_swap.metrics.worker import Worker

    hardware = HardwareWatch(loop, Worker(loop, "hardware", may_hang=True))
    retention = Retention.of(settings.config, settings.flags.base).numbered()
    return Records.keep(loop, Worker(loop, "activity"), retention, hardware)


def _root(router: Router, dialer: Dialer, records: Records, loop: Any, *more: Callable[[Any], None]) -> IResource:
    """Wire the routes."""
    from llama_swap.metrics.worker import Worker
    from llama_swap.web import errors
    from llama_swap.web.admin import AdminRoutes
    from llama_swap.web.forwarding import Forwarder
    from llama_swap.web.front import Front
    from llama_swap.web.inference import InferenceRoutes
    from llama_swap.web.passthrough import PassThrough
    from llama_swap.web.profiles import ProfileRoutes
    from llama_swap.web.routes import Routes
    from llama_swap.web.ui import UiRoutes

    app = Routes()
    errors.add_to(app)
    forwarder = Forwarder(router, dialer, records.in_flight)
    inference = InferenceRoutes(forwarder, Worker(loop, "filters", may_hang=True))
    inference.add_to(app)
    PassThrough(forwarder).add_to(app)
    ProfileRoutes(router).add_to(app)
    AdminRoutes(router, created=int(time.time())).add_to(app)
    UiRoutes(router).add_to(app)
    for add_to in more:
        add_to(app)
    return Front(app, inference.direct())


def _opened(at: IAddress, address: Address, router: Router, gate: Gate, remarks: Remarks) -> None:
    """Judge those who come to where the proxy listens, and say what is served there."""
    gate.listens_at(at)
    remarks.introduce(router.config, address, at)
