"""The log page: files that a browser gets as they are, without a build step."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files

from attrs import frozen

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
}


@frozen
class Page:
    """One file, with what HTTP has to say about it."""

    content: bytes
    content_type: bytes
    etag: bytes


@cache
def pages() -> dict[str, Page]:
    """Return the files of this package by name; what is not among them cannot be asked for."""
    found = {}
    for file in files(__name__).iterdir():
        content_type = _TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None:
            content = file.read_bytes()
            found[file.name] = Page(content, content_type, f'"{sha256(content).hexdigest()[:16]}"'.encode())
    return found
