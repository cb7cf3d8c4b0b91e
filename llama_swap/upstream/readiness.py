"""Finds out when a model's address is free, and when the model answers.

The first probe goes out at once, the next follow every 20 ms, and as a load grows long they become rarer, so that a
swap loses at most a fiftieth of its load time to waiting for a probe.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from llama_swap.config.model import LOOPBACK_NAMES, ModelConfig
from llama_swap.errors import NotReadyInTime, StartFailed, UpstreamError

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
SHARE_OF_LOAD = 0.02
"""Pauses between probes grow with the time that a load already took."""
PROBE_TIMEOUT = 5.0
"""A probe that is accepted but never answered must not stand for the load."""
RELEASE_TIMEOUT = 5.0
"""How long a port may take to be released by whoever had it before."""
NOT_YET = (CancelledError, ConnectingCancelledError, ConnectError, DNSLookupError, UpstreamError)
"""How asking a server fails that is not there yet, or that is too slow for one probe."""

_T = TypeVar("_T")


@define(eq=False)
class Prober:
    """`Readiness` by connecting to a model's address and by asking its health endpoint."""

    clock: IReactorTime
    endpoint: Callable[[str], IStreamClientEndpoint]
    """Gives the endpoint of a URL's host and port."""
    get_status: Callable[[str], Deferred[int]]
    """Asks a URL for the status of its answer."""
    timeout: float
    """`healthCheckTimeout`: seconds from launch to the first healthy answer."""

    def address_free(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.address_free`.  Only local addresses are looked at: elsewhere a server may well be running."""
        return Deferred.fromCoroutine(self._until_free(model))

    def healthy(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.healthy`."""
        return Deferred.fromCoroutine(self._until_healthy(model))

    async def _until_free(self, model: ModelConfig) -> None:
        host, port = model.address
        if host not in LOOPBACK_NAMES:
            return
        if not await self._repeat(partial(self._refused, model.proxy), RELEASE_TIMEOUT):
            raise StartFailed(
                f"model {model.id} cannot start: another program listens on port {port}, where the model is to listen. "
                f"Stop that program, or give the model another port (models.{model.id}.proxy)"
            )

    async def _until_healthy(self, model: ModelConfig) -> None:
        if model.check_endpoint is None:
            asked = f"a connection to {model.proxy}"
            probe = partial(self._accepted, model.proxy)
        else:
            url = model.proxy + model.check_endpoint
            asked, probe = f"{url} with 200", partial(self._answers, url)
        if not await self._repeat(probe, self.timeout):
            raise NotReadyInTime(
                f"model {model.id} did not answer {asked} within {self.timeout:g} s (healthCheckTimeout)"
            )

    async def _repeat(self, probe: Callable[[], Awaitable[bool]], timeout: float) -> bool:
        """Call `probe` until it is true; return whether that came within `timeout` seconds."""
        began = self.clock.seconds()
        while not await probe():
            elapsed = self.clock.seconds() - began
            if elapsed >= timeout:
                return False
            pause = min(max(FIRST_PAUSE, elapsed * SHARE_OF_LOAD), LONGEST_PAUSE, timeout - elapsed)
            await deferLater(self.clock, pause)
        return True

    async def _refused(self, url: str) -> bool:
        return not await self._accepted(url)

    async def _accepted(self, url: str) -> bool:
        """Whether a connection to the host and port of `url` is taken."""
        return await self._unless_it_fails(self.endpoint(url).connect(_Knocks())) is not None

    async def _answers(self, url: str) -> bool:
        """Whether `url` is answered with 200."""
        return await self._unless_it_fails(self.get_status(url)) == 200

    async def _unless_it_fails(self, asked: Deferred[_T]) -> _T | None:
        """Return what `asked` gives, or None if it fails or takes longer than a probe may.

        Whatever a server that is still loading does means «not yet».  Only our own cancellation, when the state was
        left, must end the probing.  Endpoints make errors of their own of a cancellation, so they do not hear of it
        first: it is `answer` that we wait for.
        """
        answer: Deferred[_T | None] = Deferred()
        asked.addCallbacks(
            answer.callback,
            lambda failure: answer.callback(None) if failure.check(*NOT_YET) else answer.errback(failure),
        )
        too_late = self.clock.callLater(PROBE_TIMEOUT, asked.cancel)
        try:
            return await answer
        finally:
            if too_late.active():
                too_late.cancel()
            asked.cancel()  # unless it has ended


class _Knock(Protocol):
    """A connection that was only to be had."""

    def connectionMade(self) -> None:
        """It was."""
        self.transport.abortConnection()  # type: ignore[union-attr]  # a TCP connection can


class _Knocks(Factory):
    noisy = False
    protocol = _Knock
