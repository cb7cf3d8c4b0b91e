"""Compressed answers, as far as Python's own library can read them.  Pure.

They go to clients as they came; only for those who look at them afterwards they are unpacked.
"""

from __future__ import annotations

import zlib
from typing import Final

MOST: Final = 2 * 1024 * 1024
"""Longer contents, in bytes, stay packed: a few bytes can stand for gigabytes, and unpacking so many takes 10 ms."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_FORMS: Final = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
"""What may hide behind a name: some servers leave out what should be around `deflate` (RFC 9110 §8.4.1.2)."""


def unpacked(body: bytes, coding: str) -> bytes | None:
    """Return the content of a body, as far as it has come; None if it is too long, or cannot be read."""
    for form in _FORMS.get(coding, ()):
        unpacking = zlib.decompressobj(form)
        try:
            content = unpacking.decompress(body, MOST)
        except zlib.error:
            continue
        return content if len(content) < MOST and not unpacking.unused_data else None
    return None
