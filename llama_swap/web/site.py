"""The site: what clients connect to, and what serves all of their requests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from llama_swap.config.model import Config
from llama_swap.web.access_log import AccessLog
from llama_swap.web.channel import SwapChannel
from llama_swap.web.gate import Gate
from llama_swap.web.patience import Patience
from llama_swap.web.request import SwapRequest

GIVE_BACK_AFTER = 1.0
"""Seconds."""


class SwapSite(Site):
    """The front of the proxy: `root`, and a gate before it."""

    displayTracebacks = False
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime, config: Config) -> None:
        self.gate = Gate(root, config)
        super().__init__(self.gate, SwapRequest, parsePOSTFormSubmission=False, timeout=None, reactor=clock)
        self._clock = clock
        self.patience = Patience(clock)
        self.tunnels: set[SwapChannel] = set()
        self.takes_tunnels = True
        self._giving_back: IDelayedCall | None = None
        self.follow(config)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A client has come.  Twisted's own choice of a channel can also change to HTTP/2, and costs more."""
        channel: Any = SwapChannel()
        channel.factory = channel.site = self
        channel.requestFactory = SwapRequest
        return channel

    def follow(self, config: Config) -> None:
        """Serve by `config` from now on."""
        self.gate.follow(config)
        self.max_body = config.max_request_body
        self.access_log = AccessLog(self._clock) if config.log_requests else None

    def end_tunnels(self) -> None:
        """Close every connection that has left HTTP, and whatever would do so from now on."""
        self.takes_tunnels = False
        for channel in tuple(self.tunnels):
            channel.hang_up()

    def give_memory_back(self) -> None:
        """A slow reader has left.  Soon after, when others may have left with it, its memory is given back."""
        if self._giving_back is None or not self._giving_back.active():
            self._giving_back = self._clock.callLater(GIVE_BACK_AFTER, give_back)

    def log(self, request: Request) -> None:
        """twisted.web's own access log is not used; see `AccessLog`."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return what may be agreed on within TLS: HTTP/2 is not spoken here."""
        return [b"http/1.1"]


def give_back() -> None:
    """Return to the system, in a few milliseconds, what memory is free.

    What slow readers have not taken lies in many pieces of some ten kilobytes.  The C library keeps the room of those
    that are freed for the next ones, however long that takes.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # glibc has it; others do not, or need it less
        ctypes.CDLL(None).malloc_trim(0)
