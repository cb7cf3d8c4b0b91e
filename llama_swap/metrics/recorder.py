"""What becomes of a request when it is over: an entry of the activity, a capture, and counts.

That is done for many requests at once, a moment later.  Done for each as it ends, it would cost three times as much: by
then the processor's cache would have lost all that it takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from llama_swap.metrics.activity import Activity
from llama_swap.metrics.captures import Captures, Recording
from llama_swap.metrics.headers import content_of
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.metrics.log import ActivityLog
from llama_swap.metrics.tallies import ModelTallies, Tallies
from llama_swap.metrics.tokens import NOTHING_KNOWN, Tokens, read_tokens

BATCH = 64
"""So many requests are settled together, at most: that takes less than a millisecond."""
SOON = 0.2
"""Seconds that a request waits for others to be settled with, at most."""
SESSION = "session_id"
"""The one thing of which clients tell us in headers."""


class ActivityRecorder:
    """Makes entries of requests that are over (see `llama_swap.metrics.inflight.Recorder`).

    `session_headers` are the names of headers, the first of which that a request has says to what session it belongs.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        activity: ActivityLog,
        captures: Captures,
        tallies: Tallies,
        clock: IReactorTime,
        session_headers: Iterable[str],
    ) -> None:
        self._activity = activity
        self._captures = captures
        self._tallies = tallies
        self._clock = clock
        self.follow(session_headers)
        self._over: list[InFlightRequest] = []
        self._timer: IDelayedCall | None = None

    def follow(self, session_headers: Iterable[str]) -> None:
        """Heed these headers from now on."""
        self._session_headers = tuple(name.lower().encode() for name in session_headers)
        self._lengths = frozenset(map(len, self._session_headers))

    def recording(self, request: InFlightRequest) -> Recording | None:
        """See `Recorder.recording`."""
        wanted = request.metered and content_of(request.answer_fields).is_readable
        return self._captures.recording() if wanted else None

    def record(self, request: InFlightRequest) -> None:
        """See `Recorder.record`."""
        if request.metered:
            self._over.append(request)
            if len(self._over) >= BATCH:
                self.settle()
            elif self._timer is None:
                self._timer = self._clock.callLater(SOON, self._settle_in_time)

    def settle(self) -> None:
        """Be done with all requests that are over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        over, self._over = self._over, []
        for request in over:
            try:
                self._settle(request)
            except Exception:  # noqa: BLE001 -- what is odd about one request must not cost the others their entry
                self._log.failure("cannot record a request to {model}", model=request.model)

    def _settle_in_time(self) -> None:
        self._timer = None
        self.settle()

    def _settle(self, request: InFlightRequest) -> None:
        request.gather()
        number = self._activity.take_number()
        content, error = content_of(request.answer_fields), request.error
        tokens = _tokens_of(request) if request.size and not content.is_encoded else NOTHING_KNOWN
        took = max(0.0, request.ended - request.arrived)
        status = request.status or (error.status if error else 0)
        entry = Activity(
            number,
            request.ended,
            request.model,
            request.path.decode("latin-1"),
            content.type,
            status,
            tokens,
            round(took * 1000),
            str(error) if error else "",
            self.metadata(request),
        )
        self._activity.add(entry)
        if not content.is_readable:
            request.whole = b""
        self._captures.store(number, request)
        tallies = self._tallies[request.model]
        tallies.requests[status] += 1
        tallies.duration.add(took)
        if error is not None:
            tallies.errors[error.code] += 1
        if request.granted is not None:
            tallies.waiting.add(max(0.0, request.granted - request.arrived))
        if content.is_stream and request.first_byte is not None:
            tallies.first_byte.add(max(0.0, request.first_byte - request.arrived))
        if tokens is not NOTHING_KNOWN:
            _count(tokens, tallies)

    def metadata(self, request: InFlightRequest) -> dict[str, str]:
        """See `Recorder.metadata`."""
        said: dict[bytes, bytes] = {}
        for name, value in request.fields:
            if len(name) in self._lengths:  # which spares most of them the rest
                said.setdefault(name.lower(), value)
        for wanted in self._session_headers:
            if value := said.get(wanted, b""):
                return {SESSION: value.decode("latin-1")}
        return {}


def _count(tokens: Tokens, tallies: ModelTallies) -> None:
    tallies.input_tokens += max(0, tokens.input)
    tallies.output_tokens += max(0, tokens.output)
    tallies.cached_tokens += max(0, tokens.cached)
    tallies.drafted_tokens += max(0, tokens.drafted)
    tallies.accepted_tokens += max(0, tokens.accepted)


def _tokens_of(request: InFlightRequest) -> Tokens:
    """Return what the answer says of itself."""
    return read_tokens(request.first, request.last, chunked=request.chunked)
