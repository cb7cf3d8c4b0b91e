"""A client's connection: twisted.web's channel, with its own reading of requests, and with deadlines.

twisted.web reads line by line, accepts malformed requests, and in some places waits for ever.  A proxy must not: the
upstream may read a malformed request differently, and each connection may hold a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from llama_swap.errors import BadRequest, SwapError
from llama_swap.http.chunked import ChunkedBody, MalformedChunks, SizedBody
from llama_swap.server.access_log import AccessLog
from llama_swap.server.errors import last_answer
from llama_swap.server.heads import RequestHead, judge_unfinished, parse_request_head
from llama_swap.server.patience import Deadline, Patience
from llama_swap.server.uploads import AT_ONCE, Uploads

IDLE_TIMEOUT = 120
"""Seconds for which a client may keep an idle connection, or pause within a body."""
HEAD_TIMEOUT = 10
"""Seconds for the head of a request, from its first byte to its last."""
STALL_TIMEOUT = 300
"""Seconds for which a client may not read what was sent to it, or a tunnel's upstream what the client sent."""
LINGER = 5
"""Seconds for which a refused client may be silent before its connection is closed."""
DISCARDED = 256 * 1024 * 1024
"""The most bytes of a refused request that are read and dropped before that."""
PIPELINED = 16 * 1024
"""The most bytes of further requests that a client may send while one is being answered (pipelining)."""

_EMPTY_LINES = re.compile(rb"(?:\r\n)*")


class Surroundings(Protocol):
    """What the channels of a site share."""

    patience: Patience
    uploads: Uploads
    access_log: AccessLog | None
    tunnels: set[SwapChannel]
    """Channels that have left HTTP."""
    takes_tunnels: bool
    """Whether more channels may leave HTTP."""

    def give_memory_back(self) -> None:
        """A client that read slowly has left."""


class SwapChannel(HTTPChannel):
    """Reads requests one after the other, each only when the one before it has been answered.

    It goes on reading from the socket while a request is being answered: otherwise a client that leaves is not noticed.
    """

    site: Surroundings
    transport: Any
    requests: list[Any]
    _deadline: Deadline
    _head: RequestHead  # of the request that is being read
    _unread = b""
    _searched = 0  # bytes of what is unread in which there is no end of a head
    _is_reading = False
    _body: ChunkedBody | SizedBody | None = None  # of the request that is being read, if it is not yet complete
    _in_parts = False  # that body did not come whole at once
    _answering = False
    _full = False  # the client does not read what it is sent
    _was_full = False
    _closing = False
    _left_to_discard: int | None = None  # bytes, of a client that was refused
    _tunnel: Callable[[bytes], None] | None = None  # takes what comes, once the connection has left HTTP
    _held = False  # the tunnel's upstream takes nothing now

    def __init__(self) -> None:
        """Set what is needed here; twisted.web's channel sets more, for reading line by line."""
        self.requests = []
        self._requestProducer = self._requestProducerStreaming = None  # so that all instances share their keys

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
        """The connection is gone, whoever closed it."""
        self._deadline.stop()
        self.site.tunnels.discard(self)
        self.site.uploads.over(self)
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
        if self._unread:
            self._read()

    def loseConnection(self) -> None:
        """Close once the client has read what was sent, or after `STALL_TIMEOUT`."""
        self._closing = self._answering = True  # with TLS, a request may still come, but no answer could leave
        self._deadline.allow(STALL_TIMEOUT)
        super().loseConnection()

    def refuse(self, error: SwapError, accept: bytes = b"", cors: bytes = b"") -> int:
        """Answer what is being read with `error`, and read no further request; return the size of the answer's body.

        The connection stays open while the client still sends, within limits: after a reset, the client might not see
        the answer (RFC 9112 §9.6).
        """
        answer = last_answer(error, accept, cors)
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
        """Close now; what was sent still arrives if the client reads."""
        if self._full:
            self.transport.abortConnection()
        else:
            self.loseConnection()

    # -- reading ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read what is there, request by request.  Called again within itself, by an answer that ends at once."""
        if self._is_reading:
            return
        self._is_reading = True
        try:
            while self._unread and not self._answering and not self._full and self._advance():
                pass
        finally:
            self._is_reading = False

    def _advance(self) -> bool:
        """Read a head, or a part of a body; return whether there may be more to read."""
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
        if not self._searched and self._unread.startswith(b"\r"):  # RFC 9112 §2.2
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
        self._searched, self._unread = 0, self._unread[end:]
        self._begin(head)
        return True

    def _begin(self, head: RequestHead) -> None:
        """Begin a request with its head; answer it if it has no body."""
        self._head, self.persistent = head, head.keeps_open
        request: Any = self.requestFactory(self)
        self.requests.append(request)
        request.begin(head)
        if self._left_to_discard is not None:
            return
        if head.expects_continue:
            self._send100Continue()
        if not (head.chunked or head.length):
            self._answer()
            return
        if len(self._unread) == head.length:  # most bodies come whole, in one packet with their heads
            whole, self._unread = self._unread, b""
            request.handleContentChunk(whole)
            if self._left_to_discard is None:
                self._answer()
            return
        self._body = SizedBody(head.length) if head.length else ChunkedBody(raw=False)
        if not self._unread:  # what comes of a body sets the deadline anew
            self._deadline.allow(IDLE_TIMEOUT)

    def _read_body(self, body: ChunkedBody | SizedBody) -> bool:
        data, self._unread = self._unread, b""
        began = self.site.patience.clock.seconds()
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
            self._in_parts, took = True, self.site.patience.clock.seconds() - began
            self.transport.bufferSize = self.site.uploads.share(self, len(data), took)  # no effect within TLS
            return False
        if self._in_parts:
            self._in_parts, self.transport.bufferSize = False, AT_ONCE
            self.site.uploads.over(self)
        self._body, self._unread = None, body.surplus
        self._answer()
        return True

    def _answer(self) -> None:
        self._answering = True
        self._deadline.allow(None)
        self.requests[0].requestReceived(self._head.method, self._head.target, self._head.version)

    def _discard(self, data: bytes) -> None:
        assert self._left_to_discard is not None
        self._left_to_discard -= len(data)
        if self._left_to_discard < 0:
            self.transport.abortConnection()
        else:
            self._deadline.allow(LINGER)

    def _too_late(self) -> None:
        if self._closing:  # `loseConnection` waits for unsent data
            self.transport.abortConnection()
        else:
            self.hang_up()
