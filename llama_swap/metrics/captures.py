"""What was said: requests and answers as they were, the latest of them, in memory only.

They hold prompts, so they are bounded, never written to disk, and shown without what must stay secret.  The bound holds
for all of it: what is stored, and what the answers under way have brought so far.
"""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from itertools import chain
from typing import Any, Final, Protocol

from attrs import define, field, frozen

from llama_swap.metrics.headers import Fields, is_unreadable, shown, value_of

OVERHEAD: Final = 512
"""What one capture takes beside its contents, about."""
STEP: Final = 4096
"""Room for an answer is asked for in steps of so many bytes."""
_Stored = tuple[int, bytes, Fields, bytes, Fields, bytes, bool]
"""Size, path, fields, body, the answer's fields, the answer, whether it is in chunks."""


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
    def answer_fields(self) -> tuple[tuple[bytes, bytes], ...]: ...
    @property
    def whole(self) -> bytes: ...
    @property
    def recording(self) -> Recording | None: ...
    @property
    def chunked(self) -> bool: ...


@frozen
class Capture:
    """A request and the answer to it."""

    path: bytes
    fields: Fields
    body: bytes
    answer_fields: Fields
    answer: bytes
    chunked: bool
    """Whether `answer` is in its chunks (RFC 9112 §7.1), but for the last one."""

    def as_json(self, number: int) -> dict[str, Any]:
        """Return what people are shown."""
        answer = without_chunks(self.answer) if self.chunked else self.answer
        return {
            "id": number,
            "req_path": self.path.decode("latin-1"),
            "req_headers": shown(self.fields),
            "req_body": b64encode(self.body).decode(),
            "resp_headers": shown(self.answer_fields),
            "resp_body": b64encode(answer).decode(),
        }


class Captures:
    """The latest captures that fit into `limit` bytes; the oldest go first.  0 keeps none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        # Plain tuples of bytes: thousands of them, at which the garbage collector does not even look.
        self._stored: OrderedDict[int, _Stored] = OrderedDict()

    def __contains__(self, number: int) -> bool:
        return number in self._stored

    def get(self, number: int) -> Capture | None:
        """Return a capture by the number of its activity, unless it had to go."""
        if number not in self._stored:
            return None
        _, path, fields, body, answer_fields, answer, chunked = self._stored[number]
        return Capture(path, fields, body, answer_fields, answer, chunked)

    def recording(self) -> Recording | None:
        """Return where to put the body of an answer; None if nothing is kept."""
        return Recording(self) if self._limit else None

    def store(self, number: int, request: Captured) -> None:
        """Keep a request whose answer has ended, if there is room for both."""
        recording = request.recording
        answer = request.whole if recording is None else recording.body
        if recording is not None:
            recording.drop()
        if not self._limit or answer is None:
            return
        body = request.body or b""
        if body and is_unreadable(value_of(request.fields, b"content-type")):
            body = b""
        fields, answer_fields = request.fields, request.answer_fields
        size = OVERHEAD + len(body) + len(answer) + sum(map(len, chain(*fields, *answer_fields)))
        if self.take(size):
            stored = (size, request.path, fields, body, answer_fields, bytes(answer), request.chunked)
            self._stored[number] = stored

    def take(self, size: int) -> bool:
        """Make room for `size` bytes; return whether there is any."""
        if size > self._limit:
            return False
        self._drop_oldest(size)
        if self._used + size > self._limit:
            return False
        self._used += size
        return True

    def resize(self, limit: int) -> None:
        """Keep no more than `limit` bytes from now on."""
        self._limit = limit
        self._drop_oldest(0)

    def _drop_oldest(self, size: int) -> None:
        """Make room for `size` bytes, as far as it is stored captures that take it."""
        while self._stored and self._used + size > self._limit:
            self._used -= self._stored.popitem(last=False)[1][0]

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
