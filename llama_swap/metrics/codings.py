"""Unpacks compressed answers, with the codings of Python's standard library.  Pure.

Clients get them as they came; they are decompressed only for the records.
"""

from __future__ import annotations

import zlib
from typing import Final

MOST: Final = 2 * 1024 * 1024
"""The most bytes of a decompressed answer, which takes 10 ms: a few bytes can stand for gigabytes."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_FORMS: Final = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
"""The formats that a name may stand for: some servers send `deflate` without its zlib wrapper (RFC 9110 §8.4.1.2)."""


def unpacked(body: bytes, coding: str) -> bytes | None:
    """Return the content of a body, which may be incomplete; None if it is too long, or cannot be unpacked."""
    for form in _FORMS.get(coding, ()):
        unpacking = zlib.decompressobj(form)
        try:
            content = unpacking.decompress(body, MOST)
        except zlib.error:
            continue
        return content if len(content) < MOST and not unpacking.unused_data else None
    return None
