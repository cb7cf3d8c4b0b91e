"""Which header fields cross the proxy, and how a request head is written.  Pure: bytes in, bytes out.

Field names keep the spelling in which they came; comparisons are by lower case (RFC 9110 §5.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Protocol

from attrs import define, field, frozen

Fields = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",  # RFC 9110 appendix B: never standard, still sent
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that are for the next hop only (RFC 9110 §7.6.1)."""

WRITTEN_HERE = frozenset({b"host", b"content-length", b"expect", b"x-forwarded-for"})
"""Request fields that the proxy writes itself, or has already answered."""


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return `fields` without the hop-by-hop ones and without those that `Connection` names."""
    kept: list[tuple[bytes, bytes]] = []
    options: list[bytes] = []
    for field_ in fields:
        name = field_[0].lower()
        if name not in HOP_BY_HOP:
            kept.append(field_)
        elif name == b"connection":
            options.append(field_[1])
    named = words(options) - {b"content-length"}  # which is for everybody: it tells where the body ends
    return [field_ for field_ in kept if field_[0].lower() not in named] if named else kept


def words(values: Iterable[bytes]) -> set[bytes]:
    """Return the words in the values of a field that holds a list (RFC 9110 §5.6.1), in lower case."""
    return {word.strip().lower() for value in values for word in value.split(b",")}


def values_of(fields: Fields, wanted: bytes) -> list[bytes]:
    """Return the values of the fields with a name, which is given in lower case."""
    return [value for name, value in fields if name.lower() == wanted]


class OutboundFields:
    """A client's fields, as they go upstream: `kept` are those that cross the proxy."""

    def __init__(self, kept: Iterable[tuple[bytes, bytes]]) -> None:
        self.kept: Fields = tuple(kept)
        lines, forwarded = [], []
        for name, value in self.kept:
            lower = name.lower()
            if lower not in WRITTEN_HERE:
                lines.append(b"%b: %b\r\n" % (name, value))
            elif lower == b"x-forwarded-for":
                forwarded.append(value)
        self.lines = b"".join(lines)
        """The field lines as they are sent, without those that differ from request to request (`WRITTEN_HERE`)."""
        self.forwarded = b", ".join(forwarded)
        """The values of `X-Forwarded-For` that the client sent, joined."""


class Body(Protocol):
    """A body that is not in memory as a whole."""

    def __len__(self) -> int:
        """Return how many bytes it has."""

    def pieces(self) -> Iterator[bytes]:
        """Return its bytes in pieces of moderate size; each call starts from the first byte."""


@define(kw_only=True)
class OutboundRequest:
    """A request as it goes upstream."""

    method: bytes
    target: bytes
    """Path and query, exactly as the client sent them."""
    host: bytes
    fields: OutboundFields
    client: bytes | None
    """The client's address, for `X-Forwarded-For`; None if it has none, or if the request is the proxy's own."""
    body: bytes | Body | None
    """None: the request has no body, which is not the same as an empty one."""
    last: bool = False
    """Whether the connection is to carry nothing after this."""
    upgrade: bytes | None = None
    """The protocols that the client asks to change to, as in its `Upgrade` field; None for none."""

    def head(self) -> bytes:
        """Return the request line and header section, the empty line included (RFC 9112 §2.1)."""
        fields, client = self.fields, self.client
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (self.method, self.target, self.host, fields.lines)
        if self.last:
            head += b"Connection: close\r\n"
        if self.upgrade is not None:
            head += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % self.upgrade
        by = (
            fields.forwarded
            if client is None
            else b"%b, %b" % (fields.forwarded, client)
            if fields.forwarded
            else client
        )
        if by:
            head += b"X-Forwarded-For: %b\r\n" % by
        return head + (b"\r\n" if self.body is None else b"Content-Length: %d\r\n\r\n" % len(self.body))


class Framing(Enum):
    """How the end of a body is marked (RFC 9112 §6.3)."""

    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


_CONTROLS = bytes(code for code in range(0x20) if code != 0x09) + b"\x7f"


def _kept(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(fields)


@frozen
class AnswerHead:
    """Status line and header section of an answer."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...] = field(converter=_kept)
    framing: Framing = field(default=Framing.UNTIL_CLOSE, eq=False)
    length: int = field(default=0, eq=False)
    """Of the body in bytes, where the framing is LENGTH."""
    keeps_open: bool = field(default=False, eq=False)
    """Whether the upstream allows the connection to be used again."""
    status_line: bytes = field(init=False, eq=False)
    """Status and reason for the client; control characters are taken out, so that no reason can end the line."""
    end_to_end_lines: bytes = field(init=False, eq=False)
    """The field lines for the client."""

    @status_line.default
    def _(self) -> bytes:
        return b"%d %b\r\n" % (self.status, self.reason.translate(None, _CONTROLS))

    @end_to_end_lines.default
    def _(self) -> bytes:
        fields = end_to_end(self.fields)
        if any(name.lower() == b"content-type" and b"text/event-stream" in value for name, value in fields):
            fields = [(name, value) for name, value in fields if name.lower() != b"x-accel-buffering"]
            fields.append((b"X-Accel-Buffering", b"no"))  # asks an nginx in front of us not to buffer events
        if self.status == 101:
            fields.append((b"Connection", b"Upgrade"))
            fields += [field for field in self.fields if field[0].lower() == b"upgrade"]
        return b"".join(b"%b: %b\r\n" % field for field in fields)
