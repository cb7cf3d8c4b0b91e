"""Finds out when a model's address is free, and when the model answers.

The first probe goes out at once, the next ones every 20 ms, and fewer as a load grows long, so that waiting for a probe
adds at most a hundredth to the load time.  Two things bring the next one forward: while a local address refuses
connections, trying again costs next to nothing and reaches no server; and a model that prints something may be ready.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import ModelConfig
from llama_swap.errors import NobodyListens, NotReadyInTime, StartFailed, UpstreamError
from llama_swap.logs.broadcaster import Broadcaster

FIRST_PAUSE = 0.02
QUICK_PAUSE = 0.003
"""Seconds until the next probe after output of the model, or after a refused connection."""
LONGEST_QUICK_PAUSE = 0.01
"""Seconds.  A refused local connection costs some 40 µs, so it can be tried this often for any time."""
LONGEST_PAUSE = 0.25
SHARE_OF_LOAD = 0.01
"""The pause between probes, as a fraction of the time that the load has taken so far."""
PROBE_TIMEOUT = 5.0
"""Seconds for one probe: one that is accepted but never answered must not hold up the others."""
LAST_PROBE_TIMEOUT = 0.5
RELEASE_TIMEOUT = 5.0
"""Seconds for a port to be released where a model of ours was before: container runtimes are slow."""
STRANGER_TIMEOUT = 1.5
"""The same where none of ours was yet.  What a killed llama-swap leaves behind is gone within a second."""
NOT_YET = (CancelledError, ConnectingCancelledError, ConnectError, DNSLookupError, UpstreamError)
"""The errors of a probe where the server is not there yet, or too slow for one probe."""
NOBODY = (Refused, NobodyListens)
"""The errors of a probe where no server listens."""
_IF_IT_LOADS = "if it needs longer to load, raise healthCheckTimeout"

_T = TypeVar("_T")


@frozen
class NotYet:
    """The outcome of a probe that did not find what is waited for."""

    words: str
    """The outcome in words, for users."""
    nobody: bool = False
    """Whether nobody listens."""


@define(eq=False)
class Prober:
    """A `Readiness` that connects to a model's address and requests its health endpoint."""

    clock: IReactorTime
    endpoint: Callable[[str], IStreamClientEndpoint]
    """Returns the endpoint for a URL's host and port."""
    get_status: Callable[[str], Deferred[int]]
    """Requests a URL; fires with the status of the answer."""
    logs: Broadcaster
    """Where models' output passes."""
    owner_of: Callable[[int], Deferred[str]]
    """Names the program that listens on a port of this machine; empty if that cannot be known."""
    timeout: float
    """`healthCheckTimeout`: seconds from launch to the first healthy answer."""
    _had: set[tuple[str, int]] = field(factory=set, init=False)
    """The addresses that were free when a model was last started there."""
    _misled: set[str] = field(factory=set, init=False)
    """Models whose health check was answered, since their start, with a status that is no sign of loading."""

    _log: ClassVar[Logger] = Logger()

    def address_free(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.address_free`.  Only local addresses are looked at: elsewhere a server may well be running."""
        return Deferred.fromCoroutine(self._until_free(model))

    def healthy(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.healthy`."""
        return Deferred.fromCoroutine(self._until_healthy(model))

    async def _until_free(self, model: ModelConfig) -> None:
        if not model.is_local:
            return
        address = model.address
        pauses = _Pauses(self.clock, RELEASE_TIMEOUT if address in self._had else STRANGER_TIMEOUT)
        if await self._repeat(partial(self._refused, model.proxy), pauses):
            self._had.discard(address)
            port = address[1]
            who = await self.owner_of(port) or f"`sudo ss -ltnp 'sport = :{port}'` names it"
            raise StartFailed(
                f"model {model.id} cannot start: another program listens on port {port}, where the model is to listen: "
                f"{who}. Stop that program, or give the model another port (models.{model.id}.proxy)"
            )
        self._had.add(address)

    async def _until_healthy(self, model: ModelConfig) -> None:
        if model.check_endpoint is None:
            asked = f"a connection to {model.proxy}"
            probe = partial(self._accepted, model.proxy)
        else:
            url = model.proxy + model.check_endpoint
            asked, probe = f"{url} with 200", partial(self._answers, model.id, url)
            self._misled.discard(model.id)
        pauses = _Pauses(self.clock, self.timeout, is_local=model.is_local)
        printed = self.logs.subscribe(model.id, pauses.cut_short, history=None)
        try:
            missing = await self._repeat(probe, pauses)
        finally:
            printed.stopProducing()
        if missing:
            raise NotReadyInTime(
                f"model {model.id} did not answer {asked} within {self.timeout:g} s (healthCheckTimeout); "
                f"the last try: {missing.words}"
            )

    async def _repeat(self, probe: Callable[[float], Awaitable[NotYet | None]], pauses: _Pauses) -> NotYet | None:
        """Call `probe` until it finds what is waited for; return what it found last if that did not come in time."""
        while found := await probe(pauses.patience()):
            if pauses.time_is_up():
                return found
            await pauses.next(found)
        return None

    async def _refused(self, url: str, patience: float) -> NotYet | None:
        """Whether nobody listens at the host and port of `url`."""
        return None if await self._accepted(url, patience) else NotYet("somebody listens")

    async def _accepted(self, url: str, patience: float) -> NotYet | None:
        """Whether a connection to the host and port of `url` is accepted."""
        knocked = await self._unless_it_fails(self.endpoint(url).connect(_Knocks()), patience)
        return knocked if isinstance(knocked, NotYet) else None

    async def _answers(self, model: str, url: str, patience: float) -> NotYet | None:
        """Whether `url` is answered with 200.  If it looks as if it never will be, a warning tells the user early."""
        status = await self._unless_it_fails(self.get_status(url), patience)
        if isinstance(status, NotYet):
            return status
        if status == 200:
            return None
        words = _told_of_status(status)
        if status < 500 and model not in self._misled:
            self._misled.add(model)
            self._log.info("{model} is not ready: asked for {url}, {words}", model=model, url=url, words=words)
        return NotYet(words)

    async def _unless_it_fails(self, asked: Deferred[_T], patience: float) -> _T | NotYet:
        """Return the result of `asked`, or a `NotYet` if it fails or takes longer than `patience` seconds.

        Whatever a server that is still loading does means "not yet".  Only our own cancellation, when the state was
        left, must end the probing.  Endpoints turn a cancellation into other errors, so we wait for `answer`, which is
        cancelled first.
        """
        answer: Deferred[_T | NotYet] = Deferred()

        def failed(failure: Failure) -> None:
            if failure.check(*NOT_YET):
                answer.callback(_told_of_failure(failure))
            else:
                answer.errback(failure)

        asked.addCallbacks(answer.callback, failed)
        too_late = self.clock.callLater(patience, asked.cancel)
        try:
            return await answer
        finally:
            if too_late.active():
                too_late.cancel()
            asked.cancel()  # unless it has ended


def _told_of_status(status: int) -> str:
    """Return what to say of a status other than 200: with 5xx, the server may be loading; else the path is wrong."""
    if status < 500:
        return f"it answered {status}; set `checkEndpoint` to a path that it answers with 200, or to none"
    return f"it answered {status}; {_IF_IT_LOADS}"


def _told_of_failure(failure: Failure) -> NotYet:
    if failure.check(*NOBODY):
        remedy = f"{_IF_IT_LOADS}, else compare the port in `cmd` with that in `proxy`"
        return NotYet(f"connection refused; {remedy}", nobody=True)
    if failure.check(CancelledError, ConnectingCancelledError):
        return NotYet(f"no answer; {_IF_IT_LOADS}")
    return NotYet(failure.getErrorMessage().rstrip("."))


@define(eq=False)
class _Pauses:
    """The time between probes."""

    _clock: IReactorTime
    _timeout: float
    """Seconds from now after which there are no more."""
    _is_local: bool = False
    _began: float = field(init=False)
    _alarm: IDelayedCall | None = None
    _hinted: bool = False

    @_began.default
    def _now(self) -> float:
        return self._clock.seconds()

    def patience(self) -> float:
        """Return how many seconds the next probe may take."""
        return max(LAST_PROBE_TIMEOUT, min(PROBE_TIMEOUT, self._timeout - self._elapsed()))

    def time_is_up(self) -> bool:
        """Whether the last probe was made."""
        return self._elapsed() >= self._timeout

    def next(self, found: NotYet) -> Deferred[None]:
        """Fire when the next probe is due, after one with this outcome."""
        elapsed = self._elapsed()
        share = elapsed * SHARE_OF_LOAD
        if self._hinted:
            pause = QUICK_PAUSE
        elif self._is_local and found.nobody:
            pause = min(max(QUICK_PAUSE, share), LONGEST_QUICK_PAUSE)
        else:
            pause = min(max(FIRST_PAUSE, share), LONGEST_PAUSE)
        self._hinted = False
        over: Deferred[None] = Deferred(lambda _: alarm.cancel())
        alarm = self._clock.callLater(min(pause, self._timeout - elapsed), over.callback, None)
        self._alarm = alarm
        return over

    def cut_short(self, _: bytes) -> None:
        """The model has printed something: bring the next probe forward."""
        if self._alarm is None or not self._alarm.active():
            self._hinted = True
        elif self._alarm.getTime() - self._clock.seconds() > QUICK_PAUSE:
            self._alarm.reset(QUICK_PAUSE)

    def _elapsed(self) -> float:
        return self._clock.seconds() - self._began


class _Knock(Protocol):
    """A connection that is only tried."""

    def connectionMade(self) -> None:
        """It was accepted: close it again."""
        self.transport.loseConnection()  # type: ignore[union-attr]  # some servers report a reset as an error


class _Knocks(Factory):
    noisy = False
    protocol = _Knock
