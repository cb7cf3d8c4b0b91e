"""twisted.web, with the limits and manners of a proxy."""

from __future__ import annotations

from io import BytesIO
from typing import Any, ClassVar

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


def body_of(request: Request) -> bytes | None:
    """Return the body of a request, or None if it has none (RFC 9110 §6.4)."""
    headers = request.requestHeaders
    if not (headers.hasHeader(b"content-length") or headers.hasHeader(b"transfer-encoding")):
        return None
    content = request.content
    assert isinstance(content, BytesIO), "SwapRequest keeps bodies in memory"
    return content.getvalue()


class SwapRequest(ServerRequest):
    """A request whose body stays in memory, up to the site's limit, and whose answer gets no invented headers."""

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
            return
        if self._room < 0:
            self._refuse_body()
        else:
            self.content.write(data)

    def process(self) -> None:
        """The request is complete."""
        if not self._too_large:
            self.channel.site.watch(self)
            super().process()

    def _refuse_body(self) -> None:
        """Answer before the body is read, and close: what the client still sends is no request."""
        self._too_large = True
        self.requestHeaders.removeHeader(b"expect")  # or twisted.web would ask for the body
        limit = self.channel.site.max_body
        error = BodyTooLarge(f"the body is larger than {limit} bytes (maxRequestBody)")
        content_type, body = render(error, self.getHeader(b"accept") or b"")
        head = b"HTTP/1.1 413 Content Too Large\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        self.channel.write(head % (content_type, len(body)) + body)
        self.channel.loseConnection()


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
            client=request.getClientAddress().host,
            method=_text(request.method),
            uri=_text(request.uri),
            protocol=_text(request.clientproto),
            status=request.code,
            size=request.sentLength,
            agent=_text(request.getHeader(b"user-agent") or b"-"),
            seconds=self._clock.seconds() - began,
        )


def _text(value: bytes) -> str:
    return value.decode("ascii", "backslashreplace")
