"""What becomes of a request when it is over: an entry of the activity, a capture, and counts."""

from __future__ import annotations

from collections.abc import Iterable

from llama_swap.metrics.activity import Activity
from llama_swap.metrics.captures import Captures, Recording
from llama_swap.metrics.headers import content_of, is_unreadable, value_of
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.metrics.log import ActivityLog
from llama_swap.metrics.tokens import NOTHING_KNOWN, Tokens, read_tokens

SESSION = "session_id"
"""The one thing of which clients tell us in headers."""


class ActivityRecorder:
    """Makes entries of requests that are over (see `llama_swap.metrics.inflight.Recorder`).

    `session_headers` are the names of headers, the first of which that a request has says to what session it belongs.
    """

    def __init__(self, log: ActivityLog, captures: Captures, session_headers: Iterable[str]) -> None:
        self._log = log
        self._captures = captures
        self._session_headers = tuple(name.lower().encode() for name in session_headers)

    def recording(self, request: InFlightRequest) -> Recording | None:
        """See `Recorder.recording`."""
        wanted = request.metered and content_of(request.answer_fields).readable
        return self._captures.recording() if wanted else None

    def record(self, request: InFlightRequest, ended: float) -> None:
        """See `Recorder.record`."""
        if not request.metered:
            return
        number = self._log.take_number()
        error = request.error
        self._log.add(
            Activity(
                number,
                ended,
                request.model,
                request.path.decode("latin-1"),
                content_of(request.answer_fields).type,
                request.status or (error.status if error else 0),
                _tokens_of(request),
                max(0, round((ended - request.arrived) * 1000)),
                str(error) if error else "",
                self.metadata(request),
            )
        )
        if is_unreadable(value_of(request.fields, b"content-type")):
            request.body = None
        self._captures.store(number, request)

    def metadata(self, request: InFlightRequest) -> dict[str, str]:
        """See `Recorder.metadata`."""
        if self._session_headers:
            said = {name.lower(): value for name, value in reversed(request.fields)}
            for wanted in self._session_headers:
                if value := said.get(wanted):
                    return {SESSION: value.decode("latin-1")}
        return {}


def _tokens_of(request: InFlightRequest) -> Tokens:
    """Return what the answer says of itself, if it can be read as it is: nothing is inflated for this."""
    if not request.size or content_of(request.answer_fields).encoded:
        return NOTHING_KNOWN
    return read_tokens(request.first, request.last, chunked=request.chunked)
