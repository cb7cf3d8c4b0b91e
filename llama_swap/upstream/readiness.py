"""Finds out when a model's address is free, and when the model answers.

The first probe goes out at once, the next follow every 20 ms, and as a load grows long they become rarer, so that a
swap loses at most a hundredth of its load time to waiting for a probe.  Two things bring the next one forward: as long
as a local address refuses connections, looking again costs next to nothing and reaches nobody; and a model that prints
something may well be ready.
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
"""Where there is a hint that something may change, or where looking costs nothing."""
LONGEST_QUICK_PAUSE = 0.01
"""A local connection that is refused costs some 40 µs, so it may be tried so often for any time."""
LONGEST_PAUSE = 0.25
SHARE_OF_LOAD = 0.01
"""Pauses between probes grow with the time that a load already took."""
PROBE_TIMEOUT = 5.0
"""A probe that is accepted but never answered must not stand for the load."""
LAST_PROBE_TIMEOUT = 0.5
RELEASE_TIMEOUT = 5.0
"""How long a port may take to be released where a model of ours was before: container runtimes take their time."""
STRANGER_TIMEOUT = 1.5
"""The same where none of ours was yet.  What a llama-swap leaves behind that was killed is gone within a second."""
NOT_YET = (CancelledError, ConnectingCancelledError, ConnectError, DNSLookupError, UpstreamError)
"""How asking a server fails that is not there yet, or that is too slow for one probe."""
NOBODY = (Refused, NobodyListens)
"""How it fails where no server listens."""
_IF_IT_LOADS = "if it needs longer to load, raise healthCheckTimeout"

_T = TypeVar("_T")


@frozen
class NotYet:
    """What a probe found instead of what is waited for."""

    words: str
    """For users."""
    nobody: bool = False
    """Nobody listens."""


@define(eq=False)
class Prober:
    """`Readiness` by connecting to a model's address and by asking its health endpoint."""

    clock: IReactorTime
    endpoint: Callable[[str], IStreamClientEndpoint]
    """Gives the endpoint of a URL's host and port."""
    get_status: Callable[[str], Deferred[int]]
    """Asks a URL for the status of its answer."""
    logs: Broadcaster
    """Where models' lines pass."""
    owner_of: Callable[[int], Deferred[str]]
    """Names whoever has a port of this machine; empty if that is not to be known."""
    timeout: float
    """`healthCheckTimeout`: seconds from launch to the first healthy answer."""
    _had: set[tuple[str, int]] = field(factory=set, init=False)
    """The addresses that were free for a model, when one was last to go there."""
    _misled: set[str] = field(factory=set, init=False)
    """Models whose health check has been answered with something that is no sign of loading, since their start."""

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
        """Whether a connection to the host and port of `url` is taken."""
        knocked = await self._unless_it_fails(self.endpoint(url).connect(_Knocks()), patience)
        return knocked if isinstance(knocked, NotYet) else None

    async def _answers(self, model: str, url: str, patience: float) -> NotYet | None:
        """Whether `url` is answered with 200.  If it never will be, the user should not have to wait to hear of it."""
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
        """Return what `asked` gives, or what it means if it fails or takes longer than `patience` seconds.

        Whatever a server that is still loading does means «not yet».  Only our own cancellation, when the state was
        left, must end the probing.  Endpoints make errors of their own of a cancellation, so they do not hear of it
        first: it is `answer` that we wait for.
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
    """Return what to say of an answer that is not 200: a server of 5xx may be loading, others were asked wrongly."""
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
        """How many seconds the next probe may take."""
        return max(LAST_PROBE_TIMEOUT, min(PROBE_TIMEOUT, self._timeout - self._elapsed()))

    def time_is_up(self) -> bool:
        """Whether the last probe was made."""
        return self._elapsed() >= self._timeout

    def next(self, found: NotYet) -> Deferred[None]:
        """Fire when the next probe is due, after one that found this."""
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
        """The model has printed something: have a look at it, soon."""
        if self._alarm is None or not self._alarm.active():
            self._hinted = True
        elif self._alarm.getTime() - self._clock.seconds() > QUICK_PAUSE:
            self._alarm.reset(QUICK_PAUSE)

    def _elapsed(self) -> float:
        return self._clock.seconds() - self._began


class _Knock(Protocol):
    """A connection that was only to be had."""

    def connectionMade(self) -> None:
        """It was."""
        self.transport.loseConnection()  # type: ignore[union-attr]  # a reset would be a failure to some servers


class _Knocks(Factory):
    noisy = False
    protocol = _Knock
