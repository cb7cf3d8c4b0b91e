"""What was said: requests and answers as they were, the latest of them, in memory only.

They hold prompts, so they are bounded, never written to disk, and shown without what must stay secret.  The bound holds
for all of it: what is stored, and what the answers under way have brought so far.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

from attrs import define, field

from llama_swap.metrics.headers import Fields, shown, value_of

OVERHEAD: Final = 2048
"""What one capture takes beside its bodies, about: headers and objects."""
STEP: Final = 4096
"""Room for an answer is asked for in steps of so many bytes."""
_BINARY: Final = (b"audio/", b"image/", b"video/", b"multipart/")


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


@define(eq=False)
class Capture:
    """A request, and the answer to it."""

    path: bytes
    fields: Fields
    body: bytes
    answer_fields: Fields
    answer: bytearray
    chunked: bool
    """Whether `answer` is in its chunks (RFC 9112 §7.1), but for the last one."""
    size: int

    def as_json(self, number: int) -> dict[str, Any]:
        """Return what people are shown."""
        answer = bytes(self.answer)
        return {
            "id": number,
            "req_path": self.path.decode("latin-1"),
            "req_headers": shown(self.fields),
            "req_body": b64encode(self.body).decode(),
            "resp_headers": shown(self.answer_fields),
            "resp_body": b64encode(without_chunks(answer) if self.chunked else answer).decode(),
        }


class Captures:
    """The latest captures that fit into `limit` bytes; the oldest go first.  0 keeps none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._stored: dict[int, Capture] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._stored

    def get(self, number: int) -> Capture | None:
        """Return a capture by the number of its activity, unless it had to go."""
        return self._stored.get(number)

    def recording(self, answer_fields: Fields) -> Recording | None:
        """Return where to put the body of an answer with these fields; None if it is not wanted."""
        return Recording(self) if self._limit and not _is_binary(answer_fields) else None

    def store(
        self,
        number: int,
        *,
        path: bytes,
        fields: Fields,
        body: bytes | None,
        answer_fields: Fields,
        answer: Recording | None,
        chunked: bool,
    ) -> None:
        """Keep a request whose answer has ended, if there is room for both."""
        kept_body = b"" if body is None or _is_binary(fields) else body
        size = OVERHEAD + len(kept_body)
        if answer is None:
            kept_answer, room = bytearray(), 0
        elif answer.body is None:
            return
        else:
            kept_answer, room = answer.body, answer.room
        if self._limit and self.take(size):
            self._stored[number] = Capture(path, fields, kept_body, answer_fields, kept_answer, chunked, size + room)
        else:
            self.give_back(room)

    def take(self, size: int) -> bool:
        """Make room for `size` bytes; return whether there is any."""
        if size > self._limit:
            return False
        while self._used + size > self._limit:
            oldest = next(iter(self._stored), None)
            if oldest is None:
                return False
            self._used -= self._stored.pop(oldest).size
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


def _is_binary(fields: Fields) -> bool:
    """Whether these fields announce pictures or sound, which nobody reads, or a form, which uploads them."""
    return value_of(fields, b"content-type").lower().startswith(_BINARY)
