"""The requests under way: who waits or is answered, since when, and how to make an end of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from llama_swap.errors import Cancelled, SwapError
from llama_swap.metrics.captures import Recording
from llama_swap.metrics.headers import Fields, shown
from llama_swap.metrics.rfc3339 import text_of

ENDS: Final = 4096
"""How many bytes are kept of each end of an answer: there, servers say how many tokens it took."""
GATHERED: Final = 8192
"""So many bytes gather before they are looked at together, since parts are many and small."""


class Recorder(Protocol):
    """Remembers requests that are over."""

    def recording(self, request: InFlightRequest) -> Recording | None:
        """Return where the body of its answer is to be kept, if anybody wants it."""

    def record(self, request: InFlightRequest) -> None:
        """It is over.  Not much time may be taken for it now: the next request waits."""

    def metadata(self, request: InFlightRequest) -> dict[str, str]:
        """Return what the client says of the request in headers of its choice."""


@define(eq=False, kw_only=True, repr=False)
class InFlightRequest:
    """One request, from its coming to its end.

    As an `AnswerObserver` of the relay it sees each part of the answer; so it only takes notes.  What can be made of
    them is made when the request is over, and others are not kept waiting.
    """

    number: int
    _clock: IReactorTime
    _registry: InFlight
    model: str
    method: bytes
    path: bytes
    fields: Fields
    client: bytes | None
    """Its address, if it has one."""
    body: bytes | None
    metered: bool
    """Whether it asks the model for an inference; else it is only passed on."""
    arrived: float
    granted: float | None = None
    """When its model was ready to answer it."""
    first_byte: float | None = None
    """When the first part of the answer's body came."""
    status: int = 0
    """Of the answer; 0: none has begun."""
    answer_fields: tuple[tuple[bytes, bytes], ...] = ()
    chunked: bool = False
    """Whether `first`, `last` and `recording` hold the body in its chunks."""
    size: int = 0
    """How many bytes of the answer's body have come."""
    first: bytes = b""
    last: bytes = b""
    whole: bytes = b""
    """The body of a short answer, which is worth no recording."""
    recording: Recording | None = None
    _parts: list[bytes] = field(factory=list, init=False)
    _enough: int = field(default=GATHERED, init=False)
    ended: float = 0.0
    error: SwapError | None = None
    """What ended it before its time."""
    cancel: Callable[[Cancelled], object] | None = None
    """How to make an end of it."""

    def grant(self) -> None:
        """The model is ready for it."""
        self.granted = self._clock.seconds()

    def begin(self, status: int, fields: tuple[tuple[bytes, bytes], ...], *, chunked: bool) -> None:
        """See `AnswerObserver.begin`."""
        self.status = status
        self.answer_fields = fields
        self.chunked = chunked

    def data(self, data: bytes) -> None:
        """See `AnswerObserver.data`."""
        if not self.size:
            self.first_byte = self._clock.seconds()
            self.first = data[:ENDS]
        self.size += len(data)
        self._parts.append(data)
        if self.size > self._enough:
            self.gather()

    def over(self, error: SwapError | None = None) -> None:
        """The request has ended, with `error` if not as it should.  Only the first call counts."""
        if self._registry.remove(self):
            self.cancel = None  # which refers to whoever refers to this
            self.error = error
            self.ended = self._clock.seconds()
            self._registry.recorder.record(self)

    def gather(self) -> None:
        """Keep what is worth it of the parts that came since the last time."""
        if self.size <= ENDS and len(self._parts) == 1:
            self.last = self.whole = self.first
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self._enough = self.size + GATHERED
        if len(data) == self.size and data:
            self.recording = self._registry.recorder.recording(self)
        self.last = data[-ENDS:] if len(data) >= ENDS else (self.last + data)[-ENDS:]
        if self.recording is not None:
            self.recording.add(data)

    def as_json(self) -> dict[str, Any]:
        """Return what observers of the proxy are shown."""
        return {
            "id": str(self.number),
            "timestamp": text_of(self.arrived),
            "model": self.model,
            "req_path": self.path.decode("latin-1"),
            "method": self.method.decode("latin-1"),
            "req_headers": shown(self.fields),
            "remote_ip": "" if self.client is None else self.client.decode("latin-1"),
            "resp_headers": shown(self.answer_fields),
            "resp_bytes": self.size,
            "elapsed_ms": max(0, round((self._clock.seconds() - self.arrived) * 1000)),
            "metadata": self._registry.recorder.metadata(self),
        }


@define(eq=False)
class InFlight:
    """All requests under way, by number."""

    recorder: Recorder
    _clock: IReactorTime
    _requests: dict[int, InFlightRequest] = field(factory=dict, init=False)
    _last: int = field(default=0, init=False)

    def add(
        self,
        model: str,
        *,
        method: bytes,
        path: bytes,
        fields: Fields,
        client: bytes | None,
        body: bytes | None,
        metered: bool,
    ) -> InFlightRequest:
        """Take note of a request for `model` that has just come."""
        self._last += 1
        request = self._requests[self._last] = InFlightRequest(
            number=self._last,
            clock=self._clock,
            registry=self,
            model=model,
            method=method,
            path=path,
            fields=fields,
            client=client,
            body=body,
            metered=metered,
            arrived=self._clock.seconds(),
        )
        return request

    def remove(self, request: InFlightRequest) -> bool:
        """Forget a request; return whether it was known."""
        return self._requests.pop(request.number, None) is not None

    def cancel(self, number: int) -> bool:
        """Make an end of a request; return whether there was one to be ended."""
        request = self._requests.get(number)
        if request is None or request.cancel is None:
            return False
        request.cancel(Cancelled("the request was cancelled by an operator"))
        return True

    def __iter__(self) -> Iterator[InFlightRequest]:
        return iter(tuple(self._requests.values()))
