"""twisted.web, with the limits and manners of a proxy."""

from __future__ import annotations

from io import BytesIO
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site

from llama_swap.errors import BodyTooLarge
from llama_swap.web.errors import render

IDLE_TIMEOUT = 120
"""How long a client may keep a connection on which nothing happens, in seconds."""
DISCARDED = 256 * 1024 * 1024
"""How many bytes of a refused body are read, and thrown away, before the connection is closed under its sender."""
LINGER = 5
"""How long the sender of a refused body may be silent, in seconds."""


def client_host(request: Request) -> str | None:
    """Return the address of the client, or None if it came by a UNIX socket."""
    address = request.getClientAddress()
    return address.host if isinstance(address, (IPv4Address, IPv6Address)) else None


def body_of(request: Request) -> bytes | None:
    """Return the body of a request, or None if it has none (RFC 9110 §6.4)."""
    headers = request.requestHeaders
    if not (headers.hasHeader(b"content-length") or headers.hasHeader(b"transfer-encoding")):
        return None
    content = request.content
    assert isinstance(content, BytesIO), "SwapRequest keeps bodies in memory"
    return content.getvalue()


class SwapRequest(ServerRequest):
    """A request whose body stays in memory, up to the site's limit, and whose answer gets no invented type."""

    defaultContentType = None
    channel: Any
    content: BytesIO
    _room = 0
    _too_large = False

    def gotLength(self, length: int | None) -> None:
        """The head is complete.  A body that is announced as too large is not asked for."""
        self.content = BytesIO()
        self._room = self.channel.site.max_body
        if length is not None and length > self._room:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body came."""
        self._room -= len(data)
        if self._too_large:
            if self._room < 0:
                self.channel.loseConnection()
        elif self._room < 0:
            self._refuse_body()
        else:
            self.content.write(data)

    def process(self) -> None:
        """The request is complete."""
        if self._too_large:
            self.channel.loseConnection()
            return
        self.site = site = self.channel.site
        site.watch(self)
        # Unlike twisted.web, which would look for children and invent headers, also for answers that are not ours.
        self.prepath = []
        self.postpath = [unquote_to_bytes(segment) for segment in self.path[1:].split(b"/")]
        self.render(site.resource)

    def getRequestHostname(self) -> bytes:  # noqa: N802  # twisted.web's name
        """Return what Klein may build absolute URLs on: it builds none here, and must not stumble over an odd Host."""
        return b"localhost"

    def _refuse_body(self) -> None:
        """Answer at once, and close when the client has sent the rest: on a reset, it might not see the answer."""
        self._too_large = True
        self._room = DISCARDED
        self.requestHeaders.removeHeader(b"expect")  # or twisted.web would ask for the body
        limit = self.channel.site.max_body
        error = BodyTooLarge(f"the body is larger than {limit} bytes (maxRequestBody)")
        content_type, body = render(error, self.getHeader(b"accept") or b"")
        self.channel.write(_HEAD_413 % (content_type, len(body)) + body)
        self.channel.setTimeout(LINGER)


_HEAD_413 = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
    b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
)


class SwapSite(Site):
    """The front of the proxy."""

    _log: ClassVar[Logger] = Logger()
    displayTracebacks = False
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime, *, max_body: int, log_requests: bool) -> None:
        super().__init__(root, SwapRequest, parsePOSTFormSubmission=False, timeout=IDLE_TIMEOUT, reactor=clock)
        self.max_body = max_body
        self._log_requests = log_requests
        self._clock = clock

    def log(self, request: Request) -> None:
        """twisted.web's own access log is not used; see `watch`."""

    def watch(self, request: Request) -> None:
        """Write a line about `request` when it is over, however it ends, if that is wanted."""
        if self._log_requests:
            request.notifyFinish().addBoth(self._write_access_line, request, self._clock.seconds())

    def _write_access_line(self, _: object, request: Request, began: float) -> None:
        self._log.info(
            '{client} "{method} {uri} {protocol}" {status} {size} "{agent}" {seconds:.3f} s',
            client=client_host(request) or "-",
            method=_text(request.method),
            uri=_text(request.uri),
            protocol=_text(request.clientproto),
            status=request.code if request.startedWriting else "-",
            size=request.sentLength,
            agent=_text(request.getHeader(b"user-agent") or b"-"),
            seconds=self._clock.seconds() - began,
        )


def _text(value: bytes) -> str:
    return value.decode("latin-1").encode("unicode_escape").decode().replace('"', r"\"")
