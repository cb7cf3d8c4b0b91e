"""Reads the head of a request, and refuses what two parsers could read differently.  Pure.

Where a head is not quite what RFC 9112 says, the server behind a proxy may take for two requests what the proxy takes
for one (request smuggling, §11.2).  So nothing is corrected here: a head is exactly right, or it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NoReturn
from urllib.parse import quote

from attrs import field, frozen

from llama_swap.errors import BadRequest, HeadTooLarge
from llama_swap.http.headers import Fields, OutboundFields, end_to_end, words
from llama_swap.http.syntax import AUTHORITY, TCHAR

HEAD_LIMIT = 64 * 1024
"""The most bytes of a head, from the method to the empty line."""
FIELDS_LIMIT = 200
SHOWN = 40
"""Bytes of a target that an error shows in front of the invalid byte."""

_REMEMBERED = 256
_WORTH_REMEMBERING = 4096
"""Bytes.  Clients repeat the same few heads, so parsed ones are kept; larger ones are not, since they could fill
memory."""

_TOKEN = f"{TCHAR}++".encode()
_FIELD = rb"(%b):([\t\x20-\x7e\x80-\xff]*+)\r\n" % _TOKEN
_LINE = rb"(%b) (/[!\"$-~]*+) HTTP/1\.([01])\r\n" % _TOKEN
_HEAD = re.compile(rb"%b((?>(?:%b)*))\r\n" % (_LINE, _FIELD))
_FIRST_LINE = re.compile(_LINE)
_FIELDS = re.compile(_FIELD)
_BAD_IN_TARGET = re.compile(rb"[\xc2-\xf4][\x80-\xbf]+|[^!\"$-~]")
"""A character of UTF-8, or any other byte."""
_HOST = re.compile(AUTHORITY.encode())
_LENGTH = re.compile(rb"[0-9]{1,18}")
_FIRST = re.compile(TCHAR.encode())
_FRAMING = (b"content-length", b"transfer-encoding")


@frozen
class RequestHead:
    """Request line and header section of a request."""

    method: bytes
    target: bytes
    """Path and query, exactly as the client sent them."""
    version: bytes
    fields: Fields
    """In the client's order and spelling."""
    length: int | None
    """Of the body in bytes; None: it is chunked, or there is none."""
    chunked: bool
    keeps_open: bool
    """Whether the client allows the connection to be used again."""
    expects_continue: bool
    """Whether the client waits for `100 Continue` before it sends the body."""
    named: Mapping[bytes, Sequence[bytes]] = field(eq=False, repr=False, factory=dict)
    """The values of the fields, by name in lower case."""

    @cached_property
    def outbound(self) -> OutboundFields:
        """The fields that go to the upstream."""
        return OutboundFields(end_to_end(self.fields))

    def value(self, name: bytes) -> bytes | None:
        """Return the value of the field with this name in lower case, the last of several; None if there is none."""
        values = self.named.get(name)
        return values[-1] if values else None


def parse_request_head(text: bytes) -> RequestHead:
    """Parse the head of a request, up to and with its empty line.

    @raise BadRequest: it is malformed, or ambiguous about the end of its body.
    @raise HeadTooLarge: it has more bytes or fields than are allowed.
    """
    return (_parse_again if len(text) <= _WORTH_REMEMBERING else _parse)(text)


def judge_unfinished(text: bytes) -> None:
    """Refuse the beginning of a head that can no longer become one, rather than wait for its end.

    @raise BadRequest: it is malformed.
    @raise HeadTooLarge: it is too long already.
    """
    if len(text) > HEAD_LIMIT:
        raise HeadTooLarge(f"the head of the request is larger than {HEAD_LIMIT} bytes")
    line_breaks = text.count(b"\n")
    if not _FIRST.match(text) or line_breaks != text.count(b"\r\n") or (line_breaks and not _FIRST_LINE.match(text)):
        _refuse(_complaint(text))


def _parse(text: bytes) -> RequestHead:
    if len(text) > HEAD_LIMIT:
        raise HeadTooLarge(f"the head of the request is larger than {HEAD_LIMIT} bytes")
    match = _HEAD.fullmatch(text)
    if match is None:
        _refuse(_complaint(text))
    method, target, minor, section = match.group(1, 2, 3, 4)
    fields = tuple((name, value.strip(b" \t")) for name, value in _FIELDS.findall(section))
    if len(fields) > FIELDS_LIMIT:
        raise HeadTooLarge(f"the request has more than {FIELDS_LIMIT} header fields")
    named: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        named.setdefault(name.lower(), []).append(value)
    is_modern = minor == b"1"
    _judge_host(named.get(b"host", ()), needed=is_modern)
    length, chunked = _judge_framing(named, may_be_chunked=is_modern)
    return RequestHead(
        method,
        target,
        b"HTTP/1." + minor,
        fields,
        length,
        chunked,
        keeps_open=is_modern and b"close" not in words(named.get(b"connection", ())),
        expects_continue=is_modern and b"100-continue" in words(named.get(b"expect", ())),
        named=named,
    )


_parse_again = lru_cache(_REMEMBERED)(_parse)


def _judge_host(hosts: Sequence[bytes], *, needed: bool) -> None:
    """Require exactly one Host field (RFC 9112 §3.2), unless it is not `needed`, as with HTTP/1.0."""
    if len(hosts) > 1 or (needed and not hosts):
        _refuse("it must have exactly one Host")
    if hosts and not _HOST.fullmatch(hosts[0]):
        _refuse("its Host is malformed")


def _judge_framing(named: dict[bytes, list[bytes]], *, may_be_chunked: bool) -> tuple[int | None, bool]:
    """Return the length of the body, and whether it is chunked (RFC 9112 §6)."""
    lengths, codings = (named.get(name, ()) for name in _FRAMING)
    if codings:
        if lengths:
            _refuse("it has both a Content-Length and a Transfer-Encoding")
        if not may_be_chunked or len(codings) > 1 or codings[0].lower() != b"chunked":
            _refuse("its Transfer-Encoding is not «chunked»")
        return None, True
    if not lengths:
        return None, False
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        _refuse("it has no single, valid Content-Length")
    return int(lengths[0]), False


def _complaint(text: bytes) -> str:
    """Return what is wrong with a malformed head."""
    line, *others = text.split(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or not re.fullmatch(rb"HTTP/1\.[01]", parts[2]):
        return "its first line must be METHOD /PATH HTTP/1.1"
    if not parts[1].startswith(b"/"):
        return "its target must be a path, beginning with a slash"
    if bad := _BAD_IN_TARGET.search(parts[1]):
        before = parts[1][max(0, bad.start() - SHOWN) : bad.start()].decode()
        return (
            f"its target has the byte 0x{bad[0][0]:02X} behind {before!r}; what is outside ASCII, control characters "
            f"and # must be percent-encoded, here as {quote(bad[0], safe='')}"
        )
    for number, other in enumerate(others, 2):
        if other and not _FIELDS.fullmatch(other + b"\r\n"):
            return f"line {number} of its head is not NAME: VALUE"
    return "its head is malformed"


def _refuse(why: str) -> NoReturn:
    raise BadRequest(f"the request is not valid HTTP/1.1: {why}")
