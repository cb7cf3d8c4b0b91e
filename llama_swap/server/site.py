"""The site: what clients connect to, and what serves all of their requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.web.http import Request
from twisted.web.server import Site

from llama_swap.config.model import Config
from llama_swap.errors import SwapError
from llama_swap.server.access_log import AccessLog
from llama_swap.server.channel import SwapChannel
from llama_swap.server.patience import Patience
from llama_swap.server.request import SwapRequest
from llama_swap.server.uploads import Uploads

GIVE_BACK_AFTER = 1.0
"""Seconds from the end of a slow reader until its memory is given back."""


class Gate(Protocol):
    """The resource that every request meets, however its path is spelled and wherever it leads."""

    def judge(self, request: SwapRequest) -> SwapError | None:
        """Return why `request` is refused, if it is; called as soon as its head is there."""

    def render(self, request: SwapRequest) -> Any:
        """Answer `request`, which is complete.  See `IResource.render`."""


class SwapSite(Site):
    """The front of the proxy: `gate`, and what is behind it.

    `names_model` tells from the method and target of a request whether its body names the model that it is for.
    `polled` are beginnings of paths that are asked for again and again: the access log tells only of their failures.
    """

    displayTracebacks = False
    noisy = False

    def __init__(
        self,
        gate: Gate,
        clock: IReactorTime,
        config: Config,
        *,
        names_model: Callable[[bytes, bytes], bool],
        polled: tuple[bytes, ...],
    ) -> None:
        super().__init__(gate, SwapRequest, parsePOSTFormSubmission=False, timeout=None, reactor=clock)
        self.gate = gate
        self.names_model = names_model
        self._polled = polled
        self._clock = clock
        self.patience = Patience(clock)
        self.uploads = Uploads()
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
        self.max_body = config.max_request_body
        self.access_log = AccessLog(self._clock, self._polled) if config.log_requests else None

    def end_tunnels(self) -> None:
        """Close every connection that has left HTTP, and every one that does so from now on."""
        self.takes_tunnels = False
        for channel in tuple(self.tunnels):
            channel.hang_up()

    def give_memory_back(self) -> None:
        """A slow reader has left.  Its memory is given back soon, together with that of others that leave now."""
        if self._giving_back is None or not self._giving_back.active():
            self._giving_back = self._clock.callLater(GIVE_BACK_AFTER, give_back)

    def log(self, request: Request) -> None:
        """twisted.web's own access log is not used; see `AccessLog`."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols for ALPN: HTTP/1.1 only, no HTTP/2."""
        return [b"http/1.1"]


def give_back() -> None:
    """Return free memory to the system, which takes a few milliseconds.

    What slow readers have not read is many pieces of some ten kilobytes.  Once they are freed, the C library keeps
    their memory for later allocations, for any length of time.
    """
    import ctypes

    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
