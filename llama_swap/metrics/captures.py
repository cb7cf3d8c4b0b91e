"""Captures: the latest requests with their answers, in memory only.

They contain prompts, so they are never written to disk, and shown without secrets.  Their size is bounded: that of the
stored ones together with what has come of answers under way.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol

from attrs import define, field

from llama_swap.metrics.codings import unpacked
from llama_swap.metrics.headers import Content, Fields, RequestFacts, shown

OVERHEAD: Final = 640
"""Bytes that one capture takes beside its contents, about."""
STEP: Final = 4096
"""Room for an answer is reserved in steps of so many bytes."""


@define(eq=False)
class Recording:
    """The body of an answer while it comes; it is dropped if it does not fit into the limit."""

    _captures: Captures
    body: bytearray | None = field(factory=bytearray, init=False)
    room: int = field(default=0, init=False)

    def add(self, data: bytes) -> None:
        """Add a part of the body."""
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

    def end(self) -> bytes | None:
        """The answer is over: return its body, unless it was given up."""
        body = self.body
        self.drop()
        return None if body is None else bytes(body)

    def drop(self) -> None:
        """Give the recording up."""
        self._captures.give_back(self.room)
        self.room = 0
        self.body = None


class Captured(Protocol):
    """A finished request and its answer."""

    number: int
    """The number of its entry in the activity."""
    path: bytes
    fields: Fields
    body: bytes | None
    answer_fields: tuple[tuple[bytes, bytes], ...]
    answer: bytes | None
    """None: there was no room for it."""
    chunked: bool
    """Whether `answer` has its chunk framing (RFC 9112 §7.1), without the last chunk."""
    facts: RequestFacts
    content: Content
    room: int
    """Its size in bytes, set when it is stored."""

    def forget(self) -> None:
        """Drop everything large."""


def as_json(request: Captured) -> dict[str, Any]:
    """Return the capture for people: with the answer decompressed where that is possible."""
    answer = request.answer or b""
    if request.chunked:
        answer = without_chunks(answer)
    if request.content.coding:
        content = unpacked(answer, request.content.coding)
        answer = answer if content is None else content
    return {
        "id": request.number,
        "req_path": request.path.decode("latin-1"),
        "req_headers": shown(request.fields),
        "req_body": b64encode(request.body or b"").decode(),
        "resp_headers": shown(request.answer_fields),
        "resp_body": b64encode(answer).decode(),
    }


class Captures:
    """The latest captures that fit into `limit` bytes, 0 for none; the oldest are dropped first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._stored: deque[Captured] = deque()

    def numbers(self) -> set[int]:
        """Return the numbers of the entries in the activity that have a capture."""
        return {request.number for request in self._stored}

    def get(self, number: int) -> Captured | None:
        """Return the capture of an entry in the activity, unless it was dropped."""
        return next((request for request in self._stored if request.number == number), None)

    def recording(self) -> Recording | None:
        """Return a recording for the body of an answer; None if nothing is captured."""
        return Recording(self) if self._limit else None

    def store(self, requests: Iterable[Captured]) -> None:
        """Store finished requests, and drop the oldest captures to make room."""
        used, limit, stored = self._used, self._limit, self._stored
        for request in requests:
            answer = request.answer
            if answer is not None:
                heads = OVERHEAD + request.facts.size + request.content.size
                request.room = room = heads + len(request.body or b"") + len(answer)
                if room <= limit:
                    used += room
                    stored.append(request)
                    continue
            request.forget()
        self._used = used
        self._drop_oldest()

    def take(self, size: int) -> bool:
        """Reserve `size` bytes, and drop the oldest captures for them; return whether there was room."""
        if size > self._limit:
            return False
        self._used += size
        self._drop_oldest()
        if self._used <= self._limit:
            return True
        self._used -= size
        return False

    def resize(self, limit: int) -> None:
        """Change the limit, in bytes."""
        self._limit = limit
        self._drop_oldest()

    def give_back(self, size: int) -> None:
        """Release `size` bytes that were reserved."""
        self._used -= size

    def _drop_oldest(self) -> None:
        """Drop stored captures, the oldest first, until the limit is kept."""
        used, limit, stored = self._used, self._limit, self._stored
        while used > limit and stored:
            request = stored.popleft()
            used -= request.room
            request.forget()
        self._used = used


def without_chunks(body: bytes) -> bytes:
    """Return the content of a chunked body, as far as it has come."""
    parts, at = [], 0
    while (end := body.find(b"\r\n", at)) > 0:
        size = int(body[at:end].partition(b";")[0], 16)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(parts)
