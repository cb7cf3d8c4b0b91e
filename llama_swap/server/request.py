"""twisted.web's request, adapted to a proxy: body limits, spooling, no invented headers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any, AnyStr

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import OK, Request
from twisted.web.http_headers import Headers
from twisted.web.server import Request as ServerRequest

from llama_swap.bodies.body import LargeBody
from llama_swap.errors import BodyTooLarge, SwapError
from llama_swap.http.headers import Body, Fields
from llama_swap.net.established import Established
from llama_swap.server.heads import RequestHead

SMALL = 128 * 1024
"""Bodies of up to so many bytes are read when they are complete; larger ones are read as they come, and spooled."""
REFUSED_BODY = 64 * 1024
"""The largest body, in bytes, that is still read if the request is refused, so that the connection can be kept."""
MAPPED = "::ffff:"
"""Prefix of the address of an IPv4 client on a dual-stack socket (RFC 4291 §2.5.5.2)."""


def client_name(request: Request) -> bytes | None:
    """Return the client's address as text, or None if it came by a UNIX socket."""
    transport: Any = request.transport
    if isinstance(transport, Established):  # most are; making an address takes longer
        return _spelled(transport.hostname)
    host = host_of(request.getClientAddress())
    return None if host is None else host.encode()


def host_of(address: IAddress) -> str | None:
    """Return the host of an address, if it has one."""
    if isinstance(address, IPv4Address):
        return address.host
    if not isinstance(address, IPv6Address):
        return None
    return _unmapped(address.host)


@lru_cache(maxsize=64)  # most requests come from few clients
def _spelled(host: str) -> bytes:
    return _unmapped(host).encode()


def _unmapped(host: str) -> str:
    return host[len(MAPPED) :] if host.startswith(MAPPED) and "." in host else host


def body_of(request: SwapRequest) -> bytes | Body | None:
    """Return the body of a request, or None if it has none (RFC 9110 §6.4)."""
    if request.head.length is None and not request.head.chunked:
        return None
    content: Any = request.content
    return content.as_it_came() if isinstance(content, LargeBody) else content.getvalue()


class SwapRequest(ServerRequest):
    """A request whose body is kept up to the site's limit, and whose answer gets no default Content-Type."""

    # All that a request for a model sets.  Each would have a dictionary of its own otherwise: Python shares the keys of
    # instances only if the first few have them all.
    __slots__ = (
        "_adapterCache", "_answer_headers", "_disconnected", "_headers", "_parsePOSTFormSubmission", "_room", "_small",
        "channel", "clientproto", "code", "content", "cookies", "cors", "counts", "finished", "head", "left",
        "method", "notifications", "path", "producer", "queued", "received_cookies", "refusal", "sentLength", "site",
        "startedWriting", "streamingProducer", "transport", "uri",
    )  # fmt: skip

    defaultContentType = None
    channel: Any
    content: BytesIO | LargeBody
    head: RequestHead
    """As it came, without what the gate has removed."""
    cors: bytes
    """The CORS header lines for the answer, be it ours or a model's; none by default."""
    refusal: SwapError | None
    """Why the gate refuses it; None if it does not."""
    counts: bool
    """Whether the length of the answer's body is needed: only then `sentLength` is set."""
    left: Callable[[], None] | None
    """Called if the client leaves before it has its answer.  `notifyFinish` would cost ten times as much."""
    _headers: Headers | None
    _answer_headers: Headers | None

    def __init__(self, channel: Any) -> None:
        """Set what twisted.web's requests set, save what most never need; `tests/test_server_site.py` compares them."""
        self.channel = channel
        self.transport = channel.transport
        self.notifications = []
        self.cookies = []
        self.received_cookies = {}
        self._adapterCache: dict[str, object] = {}
        self.producer = self.refusal = self.left = self._headers = self._answer_headers = None
        self.queued = self._parsePOSTFormSubmission = self.counts = self._disconnected = False
        self.streamingProducer = False
        self.startedWriting = self.finished = self.sentLength = self._room = 0
        self._small = SMALL
        self.code = OK
        self.cors = b""

    @property
    def client(self) -> IAddress:  # twisted.web sets it
        """The client's address, also when it has left."""
        transport: Any = self.transport
        address: IAddress = transport.getPeer()
        return address

    @property
    def host(self) -> IAddress:
        """The address at which the client reached us.  The kernel tells it, so the client must still be connected."""
        transport: Any = self.transport
        address: IAddress = transport.getHost()
        return address

    @property
    def responseHeaders(self) -> Headers:  # noqa: N802  # twisted.web's name
        """The fields of an answer of our own, made on first use; a model's answer does not need them."""
        if self._answer_headers is None:
            self._answer_headers = Headers()
        return self._answer_headers

    @responseHeaders.setter
    def responseHeaders(self, headers: Headers) -> None:  # noqa: N802
        self._answer_headers = headers

    @property
    def requestHeaders(self) -> Headers:  # type: ignore[override]  # noqa: N802  # twisted.web names it, and sets it
        """The head's fields, made on first use; most requests do not need them."""
        if self._headers is None:
            self._headers = Headers()
            for name, value in self.head.fields:
                self._headers.addRawHeader(name, value)
        return self._headers

    def getHeader(self, key: AnyStr) -> AnyStr | None:  # noqa: N802
        """Return the value of a field, the last of several with this name; None if there is none."""
        return self.head.value(key.lower()) if isinstance(key, bytes) else super().getHeader(key)

    def begin(self, head: RequestHead) -> None:
        """The head is complete."""
        self.head = head
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.path = head.target.partition(b"?")[0]
        if not head.keeps_open and head.version == b"HTTP/1.1":
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        self.gotLength(None if head.chunked else head.length or 0)

    def gotLength(self, length: int | None) -> None:
        """The head is complete.  A body announced as too large is not read."""
        self.content = BytesIO()
        site = self.channel.site
        self.refusal = site.gate.judge(self)
        self._room = site.max_body if self.refusal is None else REFUSED_BODY
        if length is not None and length > self._room:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body came."""
        self._room -= len(data)
        self._small -= len(data)
        if self._room < 0:
            self._refuse_body()
            return
        if self._small < 0 and isinstance(self.content, BytesIO):
            self._enlarge(self.content.getvalue())
        self.content.write(data)

    def _enlarge(self, before: bytes) -> None:
        """The body has grown large: read it as it comes, from `before`, which has come already."""
        types = self.head.named.get(b"content-type")
        self.content = LargeBody(types, names_model=self.channel.site.names_model(self.method, self.uri))
        if before:
            self.content.write(before)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete.  Unlike in twisted.web, cookies, arguments and forms are not parsed."""
        self.content.seek(0)
        self.process()

    def process(self) -> None:
        """Answer."""
        self.site = site = self.channel.site
        if site.access_log is not None:
            site.access_log.watch(self)
        # Unlike twisted.web, which would look for children and invent headers, also for answers that are not ours.
        self.render(site.resource)

    def refuse(self, error: SwapError) -> None:
        """Answer now, before all of the request has come; the rest is dropped, and the connection is closed."""
        self.content.close()
        access_log = self.channel.site.access_log
        if access_log is not None:
            access_log.watch(self)
        self.code = error.status
        self.startedWriting = 1
        self.sentLength = self.channel.refuse(error, self.getHeader(b"accept") or b"", self.cors)

    def finish(self) -> None:
        """All of the answer was written."""
        self.left = None
        super().finish()

    def relayed(self) -> None:
        """All of the answer was written, bypassing twisted.web: do the rest of `finish`."""
        self.left = None
        self.finished = 1
        channel, self.channel = self.channel, None
        channel.requestDone(self)
        self.content.close()
        notifications, self.notifications = self.notifications, []
        for waiting in notifications:
            waiting.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """The client has left."""
        left, self.left = self.left, None
        super().connectionLost(reason)
        if left is not None:
            left()

    def share(self, fields: Fields) -> None:
        """Let pages read the answer, by these fields (https://fetch.spec.whatwg.org/#http-responses)."""
        for name, value in fields:
            self.setHeader(name, value)
        self.cors = b"".join(b"%b: %b\r\n" % field for field in fields)

    def getRequestHostname(self) -> bytes:  # noqa: N802  # twisted.web's name
        """Return a fixed host for Klein, which needs one but builds no absolute URLs here: an odd Host cannot harm."""
        return b"localhost"

    def _refuse_body(self) -> None:
        limit = self.channel.site.max_body
        self.refuse(self.refusal or BodyTooLarge(f"the body is larger than {limit} bytes (maxRequestBody)"))
