"""The requests under way: who waits or is answered, since when, and how to make an end of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from llama_swap.errors import Cancelled, SwapError
from llama_swap.metrics.activity import Activity, Reason
from llama_swap.metrics.captures import Recording
from llama_swap.metrics.headers import Content, Fields, Said, shown
from llama_swap.metrics.rfc3339 import text_of
from llama_swap.metrics.tokens import Tokens

ENDS: Final = 4096
"""How many bytes are kept of each end of a long answer: there, servers say how many tokens it took."""
GATHERED: Final = 8192
"""So many bytes gather before they are looked at together, since parts are many and small."""

_NO_PARTS: Final[list[bytes]] = []


class Recorder(Protocol):
    """Remembers requests that are over."""

    def recording(self, request: InFlightRequest) -> Recording | None:
        """Return where the body of its answer is to be kept, if anybody wants it."""

    def record(self, request: InFlightRequest) -> None:
        """It is over.  Not much time may be taken for it now: the next request waits."""

    def metadata(self, request: InFlightRequest) -> dict[str, str]:
        """Return what the client says of the request in headers of its choice."""


@define(eq=False)
class LongAnswer:
    """What is kept of an answer that is too long to be kept as it comes."""

    recording: Recording | None
    """None: nobody wants it."""
    first: bytes = b""
    last: bytes = b""

    def add(self, data: bytes) -> None:
        """More of it came."""
        if not self.first:
            self.first = data[:ENDS]
        self.last = data[-ENDS:] if len(data) >= ENDS else (self.last + data)[-ENDS:]
        if self.recording is not None:
            self.recording.add(data)


@define(eq=False, repr=False)
class InFlightRequest:
    """One request, from its coming to its end; then it is its own entry of the activity, and its own capture.

    As an `AnswerObserver` of the relay it sees each part of the answer; so it only takes notes.  What can be made of
    them is made when the request is over, or when somebody looks, and others are not kept waiting.
    """

    _registry: InFlight
    number: int
    """Among those under way; when it is over, in the activity."""
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
    """Whether the answer's body is noted in its chunks."""
    size: int = 0
    """How many bytes of the answer's body have come."""
    _parts: list[bytes] = field(factory=list)
    _enough: int = GATHERED
    _long: LongAnswer | None = None
    ended: float = 0.0
    error: Reason | None = None
    """What ended it before its time."""
    cancel: Callable[[Cancelled], object] | None = None
    """How to make an end of it."""
    # The rest is known when it is settled.
    answer: bytes | None = field(init=False)
    said: Said = field(init=False)
    content: Content = field(init=False)
    tokens: Tokens = field(init=False)
    room: int = field(init=False)

    def grant(self) -> None:
        """The model is ready for it."""
        self.granted = self._registry.now()

    def begin(self, status: int, fields: tuple[tuple[bytes, bytes], ...], *, chunked: bool) -> None:
        """See `AnswerObserver.begin`."""
        self.status = status
        self.answer_fields = fields
        self.chunked = chunked

    def data(self, data: bytes) -> None:
        """See `AnswerObserver.data`."""
        if not self.size:
            self.first_byte = self._registry.now()
        self.size += len(data)
        self._parts.append(data)
        if self.size > self._enough:
            self._gather()

    def over(self, error: SwapError | None = None) -> None:
        """The request has ended, with `error` if not as it should.  Only the first call counts."""
        registry = self._registry
        if registry.requests.pop(self.number, None) is not None:
            self.cancel = None  # which refers to whoever refers to this
            if error is not None:
                self.error = Reason.of(error)
            self.ended = registry.now()
            registry.recorder.record(self)

    def take_answer(self) -> tuple[bytes, bytes]:
        """It is over: return both ends of the answer, each of which is all of it if it is short."""
        if self._long is None:
            parts, self._parts = self._parts, _NO_PARTS
            self.answer = answer = parts[0] if len(parts) == 1 else b"".join(parts)
            return answer, answer
        if self._parts:
            self._gather()
        long, self._long = self._long, None
        self.answer = b"" if long.recording is None else long.recording.end()
        return long.first, long.last

    def forget(self) -> None:
        """Let go of what only a capture has."""
        self.fields = self.answer_fields = ()
        self.body = self.answer = None

    def activity(self) -> Activity:
        """Return its entry, when it is over."""
        return Activity(
            self.number,
            self.ended,
            self.model,
            self.path.decode("latin-1"),
            self.content.type,
            self.status,
            self.tokens,
            max(0, round((self.ended - self.arrived) * 1000)),
            self.error.text if self.error else "",
            self.said.metadata,
        )

    def _gather(self) -> None:
        """Keep what is worth it of the parts that came since the last time."""
        if self._long is None:
            self._long = LongAnswer(self._registry.recorder.recording(self))
        self._long.add(b"".join(self._parts))
        self._parts.clear()
        self._enough = self.size + GATHERED

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
            "elapsed_ms": max(0, round((self._registry.now() - self.arrived) * 1000)),
            "metadata": self._registry.recorder.metadata(self),
        }


class InFlight:
    """All requests under way, by number."""

    def __init__(self, recorder: Recorder, clock: IReactorTime) -> None:
        self.recorder = recorder
        self.now = clock.seconds
        self.requests: dict[int, InFlightRequest] = {}
        self._last = 0

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
        self._last = number = self._last + 1
        request = InFlightRequest(self, number, model, method, path, fields, client, body, metered, self.now())
        self.requests[number] = request
        return request

    def cancel(self, number: int) -> bool:
        """Make an end of a request; return whether there was one to be ended."""
        request = self.requests.get(number)
        if request is None or request.cancel is None:
            return False
        request.cancel(Cancelled("the request was cancelled by an operator"))
        return True

    def __iter__(self) -> Iterator[InFlightRequest]:
        return iter(tuple(self.requests.values()))
