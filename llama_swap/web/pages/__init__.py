"""The web interface: files that a browser gets as they are, without a build step.

All pages are one, `index.html`, whose scripts look at the address.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256

from attrs import frozen
from twisted.web.http import CACHED, Request

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
}


@frozen
class Asset:
    """One file, with what HTTP has to say about it."""

    content: bytes
    content_type: bytes
    etag: bytes

    @classmethod
    def of(cls, content: bytes, content_type: bytes) -> Asset:
        """Return `content` with a tag of its own."""
        return cls(content, content_type, f'"{sha256(content).hexdigest()[:16]}"'.encode())

    def answer(self, request: Request) -> bytes:
        """Set the headers of an answer, and return its body; none for a browser that has it already."""
        request.setHeader(b"Content-Type", self.content_type)
        request.setHeader(b"Cache-Control", b"no-cache")
        return b"" if request.setETag(self.etag) is CACHED else self.content


@cache
def assets() -> dict[str, Asset]:
    """Return the files of this package by name; what is not among them cannot be asked for."""
    from importlib.resources import files  # most proxies are never looked at

    found = {}
    for file in files(__name__).iterdir():
        content_type = _TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None:
            found[file.name] = Asset.of(file.read_bytes(), content_type)
    return found


def index(path: bytes, links: str = "") -> Asset:
    """Return the page, for a browser that asked for `path`.

    All addresses in it are relative, so that it also works where a web server has the proxy below a path of its own.
    `links` is HTML for browsers that run no scripts.
    """
    page = assets()["index.html"]
    root = b"../" * (path.count(b"/") - 1)
    return Asset.of(page.content.replace(b"{root}", root).replace(b"{links}", links.encode()), page.content_type)
