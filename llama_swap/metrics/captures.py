"""What was said: requests and answers as they were, the latest of them, in memory only.

They hold prompts, so they are bounded, never written to disk, and shown without what must stay secret.  The bound holds
for all of it: what is stored, and what the answers under way have brought so far.
"""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from typing import Any, Final, Protocol

from attrs import define, field

from llama_swap.metrics.headers import Fields, shown

OVERHEAD: Final = 2048
"""What one capture takes beside its bodies, about: headers and objects."""
STEP: Final = 4096
"""Room for an answer is asked for in steps of so many bytes."""


@define(eq=False)
class Recording:
    """The body of an answer under way; it is given up where there is no room for it."""

    _captures: Captures
    body: bytearray | None = field(factory=bytearray, init=False)
    room: int = field(default=0, init=False)

    def add(self, data: bytes) -> None:
        """A part of the body came."""
        if self.body is None:
            return
        lacking = len(self.body) + len(data) - self.room
        if lacking > 0:
            more = max(lacking, STEP)
            if not self._captures.take(more):
                self.drop()
                return
            self.room += more
        self.body += data

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._captures.give_back(self.room)
        self.room = 0
        self.body = None


class Captured(Protocol):
    """A request that is over."""

    @property
    def path(self) -> bytes: ...
    @property
    def fields(self) -> Fields: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def answer_fields(self) -> Fields: ...
    @property
    def recording(self) -> Recording | None: ...
    @property
    def chunked(self) -> bool: ...


def as_json(number: int, request: Captured) -> dict[str, Any]:
    """Return what people are shown of a capture."""
    answer = bytes(request.recording.body or b"") if request.recording else b""
    return {
        "id": number,
        "req_path": request.path.decode("latin-1"),
        "req_headers": shown(request.fields),
        "req_body": b64encode(request.body or b"").decode(),
        "resp_headers": shown(request.answer_fields),
        "resp_body": b64encode(without_chunks(answer) if request.chunked else answer).decode(),
    }


class Captures:
    """The latest captures that fit into `limit` bytes; the oldest go first.  0 keeps none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._stored: OrderedDict[int, tuple[Captured, int]] = OrderedDict()

    def __contains__(self, number: int) -> bool:
        return number in self._stored

    def get(self, number: int) -> Captured | None:
        """Return a capture by the number of its activity, unless it had to go."""
        stored = self._stored.get(number)
        return None if stored is None else stored[0]

    def recording(self) -> Recording | None:
        """Return where to put the body of an answer; None if nothing is kept."""
        return Recording(self) if self._limit else None

    def store(self, number: int, request: Captured) -> None:
        """Keep a request whose answer has ended, if there is room for both."""
        recording = request.recording
        if not self._limit or (recording is not None and recording.body is None):
            return
        size = OVERHEAD + (len(request.body) if request.body else 0)
        if self.take(size):
            self._stored[number] = request, size + (recording.room if recording else 0)
        elif recording is not None:
            recording.drop()

    def take(self, size: int) -> bool:
        """Make room for `size` bytes; return whether there is any."""
        if size > self._limit:
            return False
        while self._used + size > self._limit:
            if not self._stored:
                return False
            _, (_, freed) = self._stored.popitem(last=False)
            self._used -= freed
        self._used += size
        return True

    def give_back(self, size: int) -> None:
        """Take less room than was asked for."""
        self._used -= size


def without_chunks(body: bytes) -> bytes:
    """Return the content of a body in chunks, as far as it has come."""
    parts, at = [], 0
    while (end := body.find(b"\r\n", at)) > 0:
        size = int(body[at:end].partition(b";")[0], 16)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(parts)
