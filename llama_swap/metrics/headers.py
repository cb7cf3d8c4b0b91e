"""Header fields: what they say about a request or an answer, and all of them without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from attrs import frozen

Fields = Sequence[tuple[bytes, bytes]]

SECRET: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"api-key"}
)
REDACTED: Final = "[REDACTED]"
_UNREADABLE: Final = (b"audio/", b"image/", b"video/", b"multipart/")


@frozen
class RequestFacts:
    """What the fields of a request say."""

    is_readable: bool
    """Whether its body is for people: no upload of pictures or sound."""
    metadata: dict[str, str]
    """What the client says about itself."""
    size: int
    """How many bytes the fields themselves have."""


@frozen
class Content:
    """What the fields say of a body."""

    type: str
    """Empty if they do not say."""
    coding: str
    """Its Content-Encoding (RFC 9110 §8.4); empty if there is none."""
    is_readable: bool
    """Whether it is for people: no pictures or sound, nor a form that uploads them."""
    is_stream: bool
    """Whether it is a stream of events."""
    size: int
    """How many bytes the fields themselves have."""


@lru_cache(256)  # servers repeat the same few heads
def content_of(fields: tuple[tuple[bytes, bytes], ...]) -> Content:
    """Return what the fields of an answer say of its body."""
    values = {name.lower(): value for name, value in reversed(fields)}
    kind = values.get(b"content-type", b"")
    coding = values.get(b"content-encoding", b"").strip().lower()
    return Content(
        kind.decode("latin-1"),
        "" if coding == b"identity" else coding.decode("latin-1"),
        not is_unreadable(kind),
        kind.lower().startswith(b"text/event-stream"),
        sum(map(len, chain(*fields))),
    )


def is_unreadable(content_type: bytes) -> bool:
    """Whether nobody would want to read such a body."""
    return content_type.lower().startswith(_UNREADABLE)


def shown(fields: Fields) -> dict[str, str]:
    """Return `fields` by name, without secrets; of several with one name, the first."""
    texts: dict[str, str] = {}
    for name, value in fields:
        secret = name.lower() in SECRET
        texts.setdefault(name.decode("latin-1"), REDACTED if secret else value.decode("latin-1"))
    return texts
