"""The web interface: files that a browser gets as they are, without a build step.

All pages are one, `index.html`, whose scripts look at the address.  Over a slow network it is requests that take time:
a browser asks for all files at once, gets them compressed, and keeps them for as long as they have the same version.
"""

from __future__ import annotations

import gzip
import re
from functools import cache, lru_cache
from hashlib import sha256

from attrs import frozen
from twisted.web.http import CACHED, Request

from llama_swap.errors import NotFound

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
}


DEEPEST = 100
"""The most slashes in the path of a page: each makes every address in it longer, and pages are kept."""
_GZIP = re.compile(rb"(?i)\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
"""In an `Accept-Encoding`: gzip, unless its weight is 0 (RFC 9110 §12.5.3)."""


@frozen
class Asset:
    """One file, with its content type."""

    content: bytes
    content_type: bytes

    def answer(self, request: Request, cache_control: bytes = b"no-cache") -> bytes:
        """Set the headers of an answer, and return its body; none for a browser that has it already."""
        request.setHeader(b"Content-Type", self.content_type)
        request.setHeader(b"Cache-Control", cache_control)
        request.responseHeaders.addRawHeader(b"Vary", b"Accept-Encoding")
        content = self.content
        if _GZIP.search(request.getHeader(b"Accept-Encoding") or b""):
            request.setHeader(b"Content-Encoding", b"gzip")
            content = _compressed(content)
        return b"" if request.setETag(f'"{_digest(content)}"'.encode()) is CACHED else content


@cache
def assets() -> dict[str, Asset]:
    """Return the files of this package by name; no others are served."""
    from importlib.resources import files  # late: many proxies never serve a page

    found = {}
    for file in files(__name__).iterdir():
        content_type = _TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None:
            found[file.name] = Asset(file.read_bytes(), content_type)
    return found


@cache
def version() -> str:
    """Return what changes whenever one of the files does."""
    return _digest(b"".join(asset.content for _, asset in sorted(assets().items())))


def index(path: bytes, links: str = "") -> Asset:
    """Return the page, for a browser that asked for `path`.

    All addresses in it are relative, so that it also works where a web server has the proxy below a path of its own.
    `links` is HTML for browsers that run no scripts.

    @raise NotFound: the path has more than `DEEPEST` slashes.
    """
    depth = path.count(b"/")
    if depth > DEEPEST:
        raise NotFound(f"the web interface has no page with {depth} slashes in its path")
    page = assets()["index.html"]
    content = page.content.replace(b"{modules}", _modules())
    content = content.replace(b"{files}", f"{{root}}ui/assets/{version()}/".encode())
    content = content.replace(b"{root}", b"../" * (depth - 1))
    return Asset(content.replace(b"{links}", links.encode()), page.content_type)


@cache
def _modules() -> bytes:
    """Return HTML that has a browser ask for each script at once, and not only when another one names it."""
    scripts = sorted(name for name in assets() if name.endswith(".js"))
    return "\n  ".join(f'<link rel="modulepreload" href="{{files}}{name}">' for name in scripts).encode()


@lru_cache(maxsize=64)
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
