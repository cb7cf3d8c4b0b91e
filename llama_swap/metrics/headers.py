"""Header fields: what they say about a request or an answer, and all of them without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from attrs import frozen

Fields = Sequence[tuple[bytes, bytes]]

_SECRETS: Final = (
    *(b"authorization", b"cookie", b"key", b"token", b"secret", b"password", b"credential", b"credentials"),
    *(b"assertion", b"jwt"),  # of proxies before us that tell who has logged in
)
"""How the names of fields end that hold secrets: `X-Api-Key`, `Set-Cookie`, `Cf-Access-Jwt-Assertion`."""
REDACTED: Final = "[REDACTED]"
_UNREADABLE: Final = (b"audio/", b"image/", b"video/", b"multipart/")


@frozen
class RequestFacts:
    """What is read from the fields of a request."""

    is_readable: bool
    """Whether its body may be text: not an upload of images or sound."""
    metadata: dict[str, str]
    """What the client says about itself."""
    size: int
    """The bytes of all names and values."""


@frozen
class Content:
    """What the fields of an answer say about its body."""

    type: str
    """Content-Type; empty if there is none."""
    coding: str
    """Its Content-Encoding (RFC 9110 §8.4); empty if there is none."""
    is_readable: bool
    """Whether it may be text: not images, sound or multipart."""
    is_stream: bool
    """Whether it is a stream of events (text/event-stream)."""
    size: int
    """The bytes of all names and values."""


@lru_cache(256)  # servers repeat the same few heads
def content_of(fields: tuple[tuple[bytes, bytes], ...]) -> Content:
    """Return what the fields of an answer say about its body."""
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
    """Whether a body of this type is binary, and so not worth a capture."""
    return content_type.lower().startswith(_UNREADABLE)


def shown(fields: Fields) -> dict[str, str]:
    """Return `fields` by name, with secrets redacted; of several with the same name, the first."""
    texts: dict[str, str] = {}
    for name, value in fields:
        secret = name.lower().endswith(_SECRETS)
        texts.setdefault(name.decode("latin-1"), REDACTED if secret else value.decode("latin-1"))
    return texts
