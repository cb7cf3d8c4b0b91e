"""The entry points of the proxy: twistd's, and the console script's.  Only this module imports the reactor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger, globalLogBeginner
from twisted.python import usage

from llama_swap import __version__
from llama_swap.errors import SwapError
from llama_swap.listening.address import DEFAULT_ADDRESS, DEFAULT_TLS_ADDRESS, try_to_listen
from llama_swap.metrics.store import prepare
from llama_swap.settings import Flags, Settings, explained, with_double_dashes

if TYPE_CHECKING:
    from llama_swap.lifecycle.service import SwapService

_log = Logger()


class Options(usage.Options):
    """The options of `twistd llama-swap`."""

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
        """See `usage.Options.parseOptions`; Go's syntax is accepted as well."""
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
        """Read the configuration already here, so that an error ends twistd with a message instead of a traceback."""
        flags = {name.replace("-", "_"): value for name, value in self.items()}
        try:
            self.settings = read_settings(Flags(**{**flags, "watch_config": bool(flags["watch_config"])}))
        except SwapError as error:
            sys.exit(explained(error))  # a UsageError would be printed below a page of twistd's options


def read_settings(flags: Flags) -> Settings:
    """Read the configuration, and check the address, the certificate and the database, before anything is started.

    @raise SwapError: one of them cannot be used.
    """
    settings = Settings.read(flags)
    with settings.blaming("listen"):
        try_to_listen(settings.address.text)
        settings.address.endpoint(_reactor())
    if (store := settings.config.store.path) is not None:
        with settings.blaming("store.path"):
            prepare(store)
    return settings


def makeService(options: Options) -> SwapService:
    """Create the service for twistd, in whose log it announces the address."""
    loop = _reactor()
    from llama_swap.composition import make_service

    return make_service(loop, options.settings, lambda text: _log.info("{text}", text=text))


def run_in_foreground(settings: Settings, greeting: str) -> None:
    """Serve until a signal ends it.  `greeting` is printed once the proxy listens."""
    loop = _reactor()
    from llama_swap.composition import make_service
    from llama_swap.lifecycle.terminal import Terminal
    from llama_swap.logs.console import ConsoleWriter

    console = ConsoleWriter(1)

    def announce(text: str) -> None:
        console.write("".join(f"{part}\n" for part in (text, greeting) if part).encode())

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    service = make_service(loop, settings, announce, console.write, Terminal.at_start(loop))
    service.startService()
    loop.addSystemEventTrigger("before", "shutdown", service.stopService)
    loop.run()
    console.close()


def _reactor() -> Any:
    """Return the reactor: llama-swap's own, unless one is installed already, as by `twistd --reactor`."""
    from llama_swap.net.reactor import install

    install()
    from twisted.internet import reactor

    return reactor
