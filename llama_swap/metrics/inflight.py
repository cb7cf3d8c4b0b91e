"""The requests under way: which wait or are answered, since when, and how to cancel them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime

from llama_swap.errors import Cancelled, SwapError
from llama_swap.metrics.activity import Activity, Reason
from llama_swap.metrics.captures import Recording
from llama_swap.metrics.headers import Content, Fields, RequestFacts, shown
from llama_swap.metrics.rfc3339 import text_of
from llama_swap.metrics.tokens import Counts, Tokens

ENDS: Final = 4096
"""Bytes that are kept of the beginning and of the end of a long answer: there, servers report token counts."""
GATHERED: Final = 8192
"""Bytes of parts that are collected before they are looked at together: parts are many and small."""

_NO_PARTS: Final[list[bytes]] = []


class Recorder(Protocol):
    """Records finished requests."""

    def recording(self, request: InFlightRequest) -> Recording | None:
        """Return where to keep the body of its answer; None if it is not kept."""

    def record(self, request: InFlightRequest) -> None:
        """The request is over.  This must be quick: the next request waits."""

    def metadata(self, request: InFlightRequest) -> dict[str, str]:
        """Return what the client's headers say about the request, such as its session."""


@define(eq=False)
class LongAnswer:
    """What is kept of an answer that is too long for its parts to be kept."""

    recording: Recording | None
    """None: its body is not captured."""
    first: bytes = b""
    last: bytes = b""

    def add(self, data: bytes) -> None:
        """Add a part of the body."""
        if not self.first:
            self.first = data[:ENDS]
        self.last = data[-ENDS:] if len(data) >= ENDS else (self.last + data)[-ENDS:]
        if self.recording is not None:
            self.recording.add(data)


@define(init=False, eq=False, repr=False)
class InFlightRequest:
    """One request, from its arrival to its end; then it is its own entry of the activity, and its own capture.

    As an `AnswerObserver` of the relay it is called for each part of the answer, so it only takes notes; they are
    evaluated when the request is over, or when the API is asked.

    `InFlight.add` makes it: a constructor with that many arguments would take a third longer.
    """

    registry: InFlight
    number: int
    """Its number among those under way; once it is over, in the activity."""
    model: str
    counted_as: str
    """The name under which it is counted: `model`, or a common name for many."""
    method: bytes
    path: bytes
    fields: Fields
    client: bytes | None
    """The client's address; None on a Unix socket."""
    body: bytes | None
    metered: bool
    """Whether it is an inference; else it is only passed on."""
    cancel: Callable[[Cancelled], object] | None
    """Cancels it."""
    arrived: float
    """In seconds of the clock, like the other times."""
    granted: float | None
    """When its model was ready for it."""
    status: int
    """The status of the answer; 0: it has not begun."""
    answer_fields: tuple[tuple[bytes, bytes], ...]
    chunked: bool
    """Whether the answer's body is noted with its chunk framing."""
    size: int
    """The number of bytes of the answer's body so far."""
    first_byte: float
    """When the first of them came; set once `size` is not 0."""
    parts: list[bytes]
    """Parts of the body that were not looked at yet."""
    enough: int
    """The `size` at which the collected parts are looked at."""
    long: LongAnswer | None
    """None: the answer is short so far."""
    error: Reason | None
    """Why it ended early; None if it did not."""
    # The rest is only set when the request is over, and in part not before it is settled.
    ended: float
    epoch: float
    """The difference of Unix time to the clock's time, in seconds."""
    answer: bytes | None
    facts: RequestFacts
    content: Content
    tokens: Counts
    room: int
    """The size of its capture in bytes."""

    def grant(self) -> None:
        """Note that the model is ready for the request."""
        self.granted = self.registry.now()

    def begin(self, status: int, fields: tuple[tuple[bytes, bytes], ...], *, chunked: bool) -> None:
        """See `AnswerObserver.begin`."""
        self.status = status
        self.answer_fields = fields
        self.chunked = chunked

    def data(self, data: bytes) -> None:
        """See `AnswerObserver.data`."""
        if self.size:
            self.size += len(data)
            self.parts.append(data)
        else:
            self.first_byte = self.registry.now()
            self.size = len(data)
            self.parts = [data]
        if self.size > self.enough:
            self._gather()

    def over(self, error: SwapError | None = None) -> None:
        """End the request, with `error` if it failed or was broken off.  Only the first call has an effect."""
        registry = self.registry
        if registry.requests.pop(self.number, None) is not None:
            self.cancel = None  # breaks a reference cycle
            if error is not None:
                self.error = Reason.of(error)
            self.ended = registry.now()
            registry.recorder.record(self)

    def take_answer(self) -> tuple[bytes, bytes]:
        """Return both ends of the answer, which is complete; of a short answer, both are all of it."""
        if self.long is None:
            self.answer = answer = b"".join(self.parts)
            self.parts = _NO_PARTS
            return answer, answer
        if self.parts:
            self._gather()
        long, self.long = self.long, None
        self.answer = b"" if long.recording is None else long.recording.end()
        return long.first, long.last

    def forget(self) -> None:
        """Drop what only a capture needs."""
        self.fields = self.answer_fields = ()
        self.body = self.answer = None

    def activity(self) -> Activity:
        """Return the entry of a request that was settled."""
        return Activity(
            self.number,
            self.epoch + self.ended,
            self.model,
            self.path.decode("latin-1"),
            self.content.type,
            self.status,
            Tokens(*self.tokens),
            max(0, round((self.ended - self.arrived) * 1000)),
            self.error.text if self.error else "",
            self.facts.metadata,
        )

    def _gather(self) -> None:
        """Keep what is needed of the parts that have come since the last call."""
        if self.long is None:
            self.long = LongAnswer(self.registry.recorder.recording(self))
        self.long.add(b"".join(self.parts))
        self.parts.clear()
        self.enough = self.size + GATHERED

    def as_json(self) -> dict[str, Any]:
        """Return the request as the API shows it."""
        return {
            "id": str(self.number),
            "timestamp": text_of(self.registry.epoch() + self.arrived),
            "model": self.model,
            "req_path": self.path.decode("latin-1"),
            "method": self.method.decode("latin-1"),
            "req_headers": shown(self.fields),
            "remote_ip": "" if self.client is None else self.client.decode("latin-1"),
            "resp_headers": shown(self.answer_fields),
            "resp_bytes": self.size,
            "elapsed_ms": max(0, round((self.registry.now() - self.arrived) * 1000)),
            "metadata": self.registry.recorder.metadata(self),
        }


class InFlight:
    """All requests in flight, by number.  `epoch` returns the difference of Unix time to the clock's, in seconds."""

    def __init__(self, recorder: Recorder, clock: IReactorTime, epoch: Callable[[], float]) -> None:
        self.recorder = recorder
        self.now = clock.seconds
        self.epoch = epoch
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
        counted_as: str | None = None,
    ) -> InFlightRequest:
        """Add a request for `model` that has just come; it is counted under `counted_as`, or else under that name."""
        self._last = number = self._last + 1
        self.requests[number] = request = InFlightRequest()
        request.registry = self
        request.number = number
        request.model = model
        request.counted_as = counted_as or model
        request.method = method
        request.path = path
        request.fields = fields
        request.client = client
        request.body = body
        request.metered = metered
        request.cancel = request.granted = request.long = request.error = None
        request.status = request.size = 0
        request.answer_fields = ()
        request.chunked = False
        request.parts = _NO_PARTS
        request.enough = GATHERED
        request.arrived = self.now()
        return request

    def inferences(self) -> int:
        """Return how many of them are inferences."""
        return sum(request.metered for request in self.requests.values())

    def cancel(self, number: int) -> bool:
        """Cancel a request; return whether there was one to cancel."""
        request = self.requests.get(number)
        if request is None or request.cancel is None:
            return False
        request.cancel(Cancelled("the request was cancelled by an operator"))
        return True

    def __iter__(self) -> Iterator[InFlightRequest]:
        return iter(tuple(self.requests.values()))
