"""twisted.web, with the limits and manners of a proxy."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, AnyStr, ClassVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site

from llama_swap.config.masking import masked_query
from llama_swap.config.model import Config
from llama_swap.errors import BodyTooLarge, SwapError
from llama_swap.relay.headers import Body, Fields
from llama_swap.web.body import LargeBody
from llama_swap.web.channel import SwapChannel
from llama_swap.web.gate import Gate
from llama_swap.web.heads import RequestHead
from llama_swap.web.memory import give_back
from llama_swap.web.paths import names_model_in_body

SMALL = 128 * 1024
"""Bodies of up to so many bytes are read when they are complete; larger ones while they come, and they are spooled."""
GIVE_BACK_AFTER = 1.0
"""Seconds."""
SHOWN = 200
"""How many bytes of an unreadable request the access log shows."""
QUIET = (
    *(b"/ui/assets/", b"/favicon.ico", b"/api/events", b"/api/performance", b"/logs/sources", b"/logs/streamSSE"),
    *(b"/metrics", b"/wol-health"),
)
"""How what pages and monitors ask for by themselves begins: the access log shows only what of it fails."""
MAPPED = "::ffff:"
"""Stands before the address of an IPv4 client that came to where IPv6 is listened for, too (RFC 4291 §2.5.5.2)."""
REFUSED_BODY = 64 * 1024
"""The largest body, in bytes, that is waited for if the request is refused already: the connection can then be kept."""


def client_host(request: Request) -> str | None:
    """Return the address of the client, or None if it came by a UNIX socket."""
    return _host(request.getClientAddress())


def _host(address: IAddress) -> str | None:
    if isinstance(address, IPv4Address):
        return address.host
    if not isinstance(address, IPv6Address):
        return None
    host = address.host
    return host[len(MAPPED) :] if host.startswith(MAPPED) and "." in host else host


def body_of(request: SwapRequest) -> bytes | Body | None:
    """Return the body of a request, or None if it has none (RFC 9110 §6.4)."""
    if request.head.length is None and not request.head.chunked:
        return None
    content: Any = request.content
    return content.as_it_came() if isinstance(content, LargeBody) else content.getvalue()


class SwapRequest(ServerRequest):
    """A request whose body is kept up to the site's limit, and whose answer gets no invented type."""

    defaultContentType = None
    channel: Any
    content: BytesIO | LargeBody
    head: RequestHead
    """As it came, but for what the gate took from it."""
    cors = b""
    """The header lines that tell a browser whose page may read the answer, be it ours or a model's; none by default."""
    refusal: SwapError | None = None
    """Why the gate does not let it in."""
    counts = False
    """Whether anybody wants to know how long the body of the answer is: only then it is in `sentLength`."""
    left: Callable[[], None] | None = None
    """Called if the client leaves before it has its answer.  `notifyFinish` tells that, too, at ten times the cost."""
    _room = 0
    _small = SMALL
    _headers: Headers | None = None
    _answer_headers: Headers | None = None

    def __init__(self, channel: SwapChannel) -> None:
        """Do what twisted.web's own requests do, save what most never need; `tests/test_web_site.py` compares them."""
        self.channel = channel
        self.client = channel.getPeer()
        self.transport = channel.transport
        self.notifications = []
        self.cookies = []
        self.received_cookies = {}
        self.queued = False
        self._parsePOSTFormSubmission = False
        Componentized.__init__(self)

    @property
    def host(self) -> IAddress:
        """The address at which the client has reached us.  The kernel is asked, so the client must still be there."""
        transport: Any = self.transport
        address: IAddress = transport.getHost()
        return address

    @property
    def responseHeaders(self) -> Headers:  # noqa: N802  # twisted.web's name
        """The fields of an answer of our own.  Made when somebody asks; a model's answer does without."""
        if self._answer_headers is None:
            self._answer_headers = Headers()
        return self._answer_headers

    @responseHeaders.setter
    def responseHeaders(self, headers: Headers) -> None:  # noqa: N802
        self._answer_headers = headers

    @property
    def requestHeaders(self) -> Headers:  # type: ignore[override]  # noqa: N802  # twisted.web names it, and sets it
        """The head's fields.  Made when somebody asks, which most requests do without."""
        if self._headers is None:
            self._headers = Headers()
            for name, value in self.head.fields:
                self._headers.addRawHeader(name, value)
        return self._headers

    def getHeader(self, key: AnyStr) -> AnyStr | None:  # noqa: N802
        """Return the value of a field, of several with this name the last; None if there is none."""
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
        """The head is complete.  A body that is announced as too large is not asked for."""
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
        """The body is a large one."""
        types = self.head.named.get(b"content-type")
        self.content = LargeBody(types, names_model=names_model_in_body(self.method, self.uri))
        if before:
            self.content.write(before)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete.  Cookies, arguments and forms are left to those who want any."""
        self.content.seek(0)
        self.process()

    def process(self) -> None:
        """Answer."""
        self.site = site = self.channel.site
        site.watch(self)
        # Unlike twisted.web, which would look for children and invent headers, also for answers that are not ours.
        self.render(site.resource)

    def refuse(self, error: SwapError) -> None:
        """Answer now, before all of the request has come; the rest is not wanted, and the connection is closed."""
        self.content.close()
        self.channel.site.watch(self)
        self.code = error.status
        self.startedWriting = 1
        self.sentLength = self.channel.refuse(error, self.getHeader(b"accept") or b"")

    def finish(self) -> None:
        """All of the answer was written."""
        self.left = None
        super().finish()

    def relayed(self) -> None:
        """All of the answer was written past twisted.web: what is left of `finish`."""
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
        """Return what Klein may build absolute URLs on: it builds none here, and must not stumble over an odd Host."""
        return b"localhost"

    def _refuse_body(self) -> None:
        limit = self.channel.site.max_body
        self.refuse(self.refusal or BodyTooLarge(f"the body is larger than {limit} bytes (maxRequestBody)"))


class SwapSite(Site):
    """The front of the proxy: `root`, and a gate before it."""

    _log: ClassVar[Logger] = Logger()
    displayTracebacks = False
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime, config: Config) -> None:
        self.gate = Gate(root, config)
        super().__init__(self.gate, SwapRequest, parsePOSTFormSubmission=False, timeout=None, reactor=clock)
        self._clock = clock
        self.tunnels: set[SwapChannel] = set()
        self.takes_tunnels = True
        self._giving_back: IDelayedCall | None = None
        self.follow(config)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A client has come.  Twisted's own choice of a channel can also change to HTTP/2, and costs more."""
        channel: Any = SwapChannel()
        channel.factory = channel.site = self
        channel.requestFactory = SwapRequest
        return channel

    def follow(self, config: Config) -> None:
        """Serve by `config` from now on."""
        self.gate.follow(config)
        self.max_body = config.max_request_body
        self._log_requests = config.log_requests

    def end_tunnels(self) -> None:
        """Close every connection that has left HTTP, and whatever would do so from now on."""
        self.takes_tunnels = False
        for channel in tuple(self.tunnels):
            channel.hang_up()

    def give_memory_back(self) -> None:
        """A slow reader has left.  Soon after, when others may have left with it, its memory is given back."""
        if self._giving_back is None or not self._giving_back.active():
            self._giving_back = self._clock.callLater(GIVE_BACK_AFTER, give_back)

    def log(self, request: Request) -> None:
        """twisted.web's own access log is not used; see `watch`."""

    def watch(self, request: SwapRequest) -> None:
        """Write a line about `request` when it is over, however it ends, if that is wanted."""
        if self._log_requests:
            request.counts = True
            request.notifyFinish().addBoth(self._write_access_line, request, self._clock.seconds())

    def note_unreadable(self, client: IAddress, line: bytes, error: SwapError, size: int) -> None:
        """Write a line about what was no request, and was answered with `error`; `line` is what it began with."""
        if self._log_requests:
            self._log.info(
                '{client} "{line}" {status} {size} "-" 0.000 s',
                client=_host(client) or "-",
                line=masked_query(_text(line[:SHOWN])),
                status=error.status,
                size=size,
            )

    def acceptableProtocols(self) -> list[bytes]:
        """Return what may be agreed on within TLS: HTTP/2 is not spoken here."""
        return [b"http/1.1"]

    def _write_access_line(self, _: object, request: Request, began: float) -> None:
        if request.code < 400 and request.path.startswith(QUIET):
            return
        self._log.info(
            '{client} "{method} {uri} {protocol}" {status} {size} "{agent}" {seconds:.3f} s',
            client=client_host(request) or "-",
            method=_text(request.method),
            uri=masked_query(_text(request.uri)),
            protocol=_text(request.clientproto),
            status=request.code if request.startedWriting else "-",
            size=request.sentLength,
            agent=_text(request.getHeader(b"user-agent") or b"-"),
            seconds=self._clock.seconds() - began,
        )


def _text(value: bytes) -> str:
    return value.decode("latin-1").encode("unicode_escape").decode().replace('"', r"\"")
