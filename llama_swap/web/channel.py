"""A client's connection: twisted.web's channel, except for how it reads, and how long it waits.

twisted.web reads line by line, mends what is malformed, and waits for ever in some places.  A proxy cannot: what it
lets through, it answers for, and each connection may hold a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from llama_swap.errors import BadRequest, SwapError
from llama_swap.relay.chunked import ChunkedBody, MalformedChunks, SizedBody
from llama_swap.web.errors import last_answer
from llama_swap.web.heads import RequestHead, judge_unfinished, parse_request_head
from llama_swap.web.patience import Deadline, Patience

if TYPE_CHECKING:
    from llama_swap.web.access_log import AccessLog

IDLE_TIMEOUT = 120
"""How long a client may keep a connection on which nothing happens, or pause within a body, in seconds."""
HEAD_TIMEOUT = 10
"""How long the head of a request may take, from its first byte to its last."""
STALL_TIMEOUT = 300
"""How long a client may leave unread what was sent to it, and a tunnel what the client sent into it."""
LINGER = 5
"""How long a client that was refused may be silent before the connection is closed under it."""
DISCARDED = 256 * 1024 * 1024
"""How many bytes of a refused request are read, and thrown away, before that."""
AT_ONCE = 64 * 1024
"""How many bytes are read at a time, at most, as Twisted has it."""
OF_BODY_AT_ONCE = 256 * 1024
"""The same, of a body that has not come whole with the first of them: each time costs something."""
PIPELINED = 16 * 1024
"""How many bytes of its next requests a client may send while one is being answered."""

_EMPTY_LINES = re.compile(rb"(?:\r\n)*")


class Surroundings(Protocol):
    """What a channel shares with the others of its site."""

    patience: Patience
    access_log: AccessLog | None
    tunnels: set[SwapChannel]
    """Those that have left HTTP."""
    takes_tunnels: bool
    """Whether others may."""

    def give_memory_back(self) -> None:
        """A slow reader has left."""


class SwapChannel(HTTPChannel):
    """Reads requests one after the other, each only when the one before it has been answered.

    It goes on reading from the socket while a request is being answered: that is how a client's leaving shows.
    """

    site: Surroundings
    transport: Any
    requests: list[Any]
    _deadline: Deadline
    _head: RequestHead  # of the request that is being read
    _peer: IAddress | None = None
    _unread = b""
    _searched = 0  # how much of it holds no end of a head
    _is_reading = False
    _body: ChunkedBody | SizedBody | None = None  # of the request that is being read, if it is not yet complete
    _answering = False
    _full = False  # the client does not take what it is sent
    _was_full = False
    _closing = False
    _left_to_discard: int | None = None  # of a client that was refused
    _tunnel: Callable[[bytes], None] | None = None  # takes what comes, once the connection has left HTTP
    _held = False  # nothing is read into the tunnel now

    def __init__(self) -> None:
        """Have nothing to read yet; twisted.web's channel has more, for requests that it reads line by line."""
        self.requests = []

    # -- from the transport -----------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """A client has come."""
        self._networkProducer = self.transport
        self.transport.registerProducer(self, True)
        self._deadline = Deadline(self.site.patience, self._too_late)
        self._deadline.allow(IDLE_TIMEOUT)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._tunnel is not None:
            self._tunnel(data)
        elif self._left_to_discard is not None:
            self._discard(data)
        else:
            self._unread += data
            self._read()
            if len(self._unread) > PIPELINED and (self._answering or self._full):
                self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client has left, or was left."""
        self._deadline.stop()
        self.site.tunnels.discard(self)
        if self._was_full:
            self.site.give_memory_back()
        super().connectionLost(reason)

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._full = self._was_full = True
        self._deadline.allow(STALL_TIMEOUT)
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read all there was."""
        self._full = False
        self._deadline.allow(STALL_TIMEOUT if self._held else None if self._answering else IDLE_TIMEOUT)
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        self._read()

    def getPeer(self) -> IAddress:  # noqa: N802  # twisted.web's name
        """Return the client's address.  It is asked for with the first request: behind `haproxy:`, not before."""
        if self._peer is None:
            self._peer = self.transport.getPeer()
        return self._peer

    # -- from the request -------------------------------------------------------------------------------------

    def requestDone(self, request: Request) -> None:
        """The request has its whole answer."""
        self.requests.clear()
        if not self.persistent:
            self.loseConnection()
            return
        self._answering = False
        if not self._full:
            self._deadline.allow(IDLE_TIMEOUT)
        self._read()

    def loseConnection(self) -> None:
        """Close when the client has got what was sent; it must not take for ever to do so."""
        self._closing = True
        self._deadline.allow(STALL_TIMEOUT)
        super().loseConnection()

    def refuse(self, error: SwapError, accept: bytes = b"") -> int:
        """Answer whatever is being read with `error`, and take no more; return the size of the answer's body.

        The connection stays open for as long as the client still sends: on a reset, it might not see the answer.
        """
        answer = last_answer(error, accept)
        self.transport.write(answer)
        self._unread = b""
        self._left_to_discard = DISCARDED
        self._deadline.allow(LINGER)
        if not self.isSecure():
            self.transport.loseWriteConnection()
        return len(answer.partition(b"\r\n\r\n")[2])

    def tunnel(self, take: Callable[[bytes], None]) -> None:
        """See `llama_swap.relay.tunnel.ClientConnection.tunnel`."""
        self._tunnel = take
        self.persistent = False
        early, self._unread = self._unread, b""
        if early:
            take(early)
        self.site.tunnels.add(self)
        if not self.site.takes_tunnels:
            self.hang_up()

    def hold(self, held: bool) -> None:
        """See `llama_swap.relay.tunnel.ClientConnection.hold`."""
        self._held = held
        self._deadline.allow(STALL_TIMEOUT if held or self._full else None)
        if held:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def hang_up(self) -> None:
        """Close now, after what was sent if the client reads."""
        if self._full:
            self.transport.abortConnection()
        else:
            self.loseConnection()

    # -- reading ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read what is there, request by request.  An answer may call for the next one before this has returned."""
        if self._is_reading:
            return
        self._is_reading = True
        try:
            while self._unread and not self._answering and not self._full and self._advance():
                pass
        finally:
            self._is_reading = False

    def _advance(self) -> bool:
        """Read a head, or some of a body; return whether there may be more to read."""
        try:
            return self._read_head() if self._body is None else self._read_body(self._body)
        except SwapError as error:
            if self.requests:
                self.requests[0].refuse(error)
            else:
                line = self._unread.partition(b"\r\n")[0]
                size = self.refuse(error)
                if self.site.access_log is not None:
                    self.site.access_log.note_unreadable(self.getPeer(), line, error, size)
            return False

    def _read_head(self) -> bool:
        if not self._searched and self._unread.startswith(b"\r"):  # some clients end a body with empty lines
            self._unread = self._unread[_EMPTY_LINES.match(self._unread).end() :]  # type: ignore[union-attr]  # any number
            if self._unread in {b"", b"\r"}:
                return False
        end = self._unread.find(b"\r\n\r\n", max(0, self._searched - 3)) + 4
        if end < 4:
            if not self._searched:
                self._deadline.allow(HEAD_TIMEOUT)
            self._searched = len(self._unread)
            judge_unfinished(self._unread)
            return False
        head = parse_request_head(self._unread[:end])
        self._searched = 0
        self._unread = self._unread[end:]
        self._begin(head)
        return True

    def _begin(self, head: RequestHead) -> None:
        """Make a request of a head; answer it, if that is all of it."""
        self._head = head
        self.persistent = head.keeps_open
        request: Any = self.requestFactory(self)
        self.requests.append(request)
        request.begin(head)
        if self._left_to_discard is not None:
            return
        if head.expects_continue:
            self._send100Continue()
        if head.chunked:
            self._body = ChunkedBody(raw=False)
        elif head.length:
            self._body = SizedBody(head.length)
        else:
            self._answer()

    def _read_body(self, body: ChunkedBody | SizedBody) -> bool:
        data, self._unread = self._unread, b""
        try:
            payload = body.feed(data)
        except MalformedChunks as error:
            raise BadRequest(f"the body of the request cannot be read: {error}") from None
        if payload:
            self.requests[0].handleContentChunk(payload)
        if self._left_to_discard is not None:
            return False
        if not body.ended:
            self._deadline.allow(IDLE_TIMEOUT)
            self.transport.bufferSize = OF_BODY_AT_ONCE  # within TLS, this changes nothing
            return False
        self.transport.bufferSize = AT_ONCE
        self._body = None
        self._unread = body.surplus
        self._answer()
        return True

    def _answer(self) -> None:
        self._answering = True
        self._deadline.allow(None)
        head = self._head
        self.requests[0].requestReceived(head.method, head.target, head.version)

    def _discard(self, data: bytes) -> None:
        assert self._left_to_discard is not None
        self._left_to_discard -= len(data)
        if self._left_to_discard < 0:
            self.transport.abortConnection()
        else:
            self._deadline.allow(LINGER)

    def _too_late(self) -> None:
        if self._closing:  # what is still to be sent keeps a polite close waiting
            self.transport.abortConnection()
        else:
            self.hang_up()
