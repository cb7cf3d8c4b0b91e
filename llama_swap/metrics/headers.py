"""Header fields as they may be shown to people: as text, and without what must stay secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Fields = Sequence[tuple[bytes, bytes]]

SECRET: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"api-key"}
)
REDACTED: Final = "[REDACTED]"


def shown(fields: Fields) -> dict[str, str]:
    """Return `fields` by name; of several with one name, the first."""
    texts: dict[str, str] = {}
    for name, value in fields:
        secret = name.lower() in SECRET
        texts.setdefault(name.decode("latin-1"), REDACTED if secret else value.decode("latin-1"))
    return texts


def value_of(fields: Fields, wanted: bytes) -> bytes:
    """Return the first value of the field whose name, in lower case, is `wanted`; empty if there is none."""
    for name, value in fields:
        if name.lower() == wanted:
            return value
    return b""
