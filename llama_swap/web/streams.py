"""The log routes: a page for browsers, plain text and live streams for everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from secrets import token_hex

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.errors import BadRequest, Unavailable
from llama_swap.logs.broadcaster import HISTORY_BYTES, PROXY, UPSTREAM, Broadcaster
from llama_swap.logs.ring import RING_BYTES, Chunk
from llama_swap.logs.subscription import Subscription
from llama_swap.server.answers import TEXT, answer, begin_stream, json_answer, query_of, whole_number
from llama_swap.web.pages import index

MAX_STREAMS = 100
HEARTBEAT = 15.0
"""Seconds between the comments in an event stream, which show both ends that the other is still there."""

_EVENTS = b"text/event-stream; charset=utf-8"

_Deliver = Callable[[Chunk], None]


class LogRoutes:
    """Serves the lines of a broadcaster.

    `known` resolves a model's id or alias to the id, or returns None.
    """

    def __init__(self, broadcaster: Broadcaster, clock: IReactorTime, known: Callable[[str], str | None]) -> None:
        self._broadcaster = broadcaster
        self._clock = clock
        self._known = known
        self._open: set[_TextStream] = set()
        self._closed = False
        # Each start of the proxy numbers chunks anew: a page's number from before a restart must not be used.
        self._epoch = token_hex(4)
        # All who follow a source get a chunk one after the other, so its event is made once.
        self._event_of = lru_cache(maxsize=1)(partial(_event_of, self._epoch))

    def add_to(self, app: Klein) -> None:
        """Register the routes on `app`, which must not be bound to an instance."""
        routes: dict[str, Callable[..., bytes | Resource]] = {
            "/log": self._moved,
            "/logs": self._logs,
            "/logs/sources": self._sources,
            "/logs/stream": self._text_stream,
            "/logs/stream/": self._text_stream,  # from clients whose choice of a source is empty
            "/logs/stream/<path:source>": self._text_stream,
            "/logs/streamSSE": self._event_stream,
            "/logs/streamSSE/<path:source>": self._event_stream,
        }
        for path, route in routes.items():
            app.route(path, methods=["GET", "HEAD"], endpoint=f"logs {path}")(route)

    def close(self) -> None:
        """End every open stream, and refuse new ones."""
        self._closed = True
        for stream in tuple(self._open):
            stream.end()

    def _moved(self, request: Request) -> bytes:
        _, question, query = request.uri.partition(b"?")
        request.redirect(b"logs" + question + query)
        return answer(request, TEXT, b"The log is at /logs.\n")

    def _logs(self, request: Request) -> bytes:
        request.setHeader(b"Vary", b"Accept")
        if b"text/html" in (request.getHeader(b"Accept") or b""):
            return index(request.path).answer(request)
        history = self._broadcaster.history(None, _wanted_bytes(query_of(request)))
        return answer(request, TEXT, history)

    def _sources(self, request: Request) -> bytes:
        return json_answer(request, self._broadcaster.sources())

    def _text_stream(self, request: Request, source: str | None = None) -> Resource:
        return _TextStream(self._open, self._follower(request, source))

    def _event_stream(self, request: Request, source: str | None = None) -> Resource:
        follow = self._follower(request, source)
        return _EventStream(self._open, follow, self._broadcaster.sources, self._event_of, self._clock)

    def _follower(self, request: Request, name: str | None) -> Callable[[_Deliver], Subscription]:
        """Return a function that subscribes to what the request asks for; raise if there is no such source."""
        query = query_of(request)
        source = self._source(name)
        history = None if "no-history" in query else _wanted_bytes(query)
        after = self._last_seen(request, query)
        if self._closed:
            raise Unavailable("The proxy is shutting down; its log ends here.")
        if len(self._open) >= MAX_STREAMS:
            raise Unavailable(f"All {MAX_STREAMS} log streams are in use. Close one and try again.")
        return lambda deliver: self._broadcaster.follow(source, deliver, history=history, after=after)

    def _source(self, name: str | None) -> str | None:
        if name in {None, PROXY, UPSTREAM}:
            return name
        source = self._known(name)
        if source is None and name in self._broadcaster.sources():
            source = name  # a model that is no longer configured, but has lines
        if source is None:
            raise BadRequest("invalid logger. Use 'proxy', 'upstream' or a model's ID")
        return source

    def _last_seen(self, request: Request, query: dict[str, list[str]]) -> int | None:
        header = request.getHeader(b"Last-Event-ID") or b""
        event_id = query["after"][-1] if "after" in query else header.decode("latin-1")
        epoch, _, number = event_id.partition(".")
        return whole_number(number) if epoch == self._epoch else None


class _TextStream(Resource):
    """One client that gets the lines as plain text, as long as it stays."""

    isLeaf = True
    content_type = TEXT

    def __init__(self, streams: set[_TextStream], follow: Callable[[_Deliver], Subscription]) -> None:
        super().__init__()
        self._streams = streams
        self._follow = follow

    def render_HEAD(self, request: Request) -> int:
        begin_stream(request, self.content_type)
        request.finish()
        return NOT_DONE_YET

    def render_GET(self, request: Request) -> int:
        begin_stream(request, self.content_type)
        request.write(b"")  # the head leaves now, even if the model has nothing to say for hours
        self.request = request
        self.subscription = self._follow(self.deliver)
        request.registerProducer(self.subscription, True)
        self.subscription.resumeProducing()
        self._streams.add(self)
        request.notifyFinish().addBoth(lambda _: self.left())
        return NOT_DONE_YET

    def deliver(self, chunk: Chunk) -> None:
        """Send lines to the client."""
        self.request.write(chunk.lines)

    def end(self) -> None:
        """End the stream."""
        self.subscription.stopProducing()  # first, since the end of the answer writes a line of the access log
        self.request.unregisterProducer()
        self.request.finish()

    def left(self) -> None:
        """Note that the client is gone, for whatever reason."""
        self.subscription.stopProducing()
        self._streams.discard(self)


class _EventStream(_TextStream):
    """The same as server-sent events, whose data name the source; a client can resume after an event by its id.

    Events named `sources` list all sources, at the start and when there are new ones.
    Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    content_type = _EVENTS

    def __init__(
        self,
        streams: set[_TextStream],
        follow: Callable[[_Deliver], Subscription],
        sources: Callable[[], list[str]],
        event_of: Callable[[Chunk], bytes],
        clock: IReactorTime,
    ) -> None:
        super().__init__(streams, follow)
        self._sources = sources
        self._told: list[str] = []
        self._event_of = event_of
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.clock = clock

    def render_GET(self, request: Request) -> int:
        self._heartbeat.start(HEARTBEAT, now=False)
        super().render_GET(request)
        self._beat()
        return NOT_DONE_YET

    def deliver(self, chunk: Chunk) -> None:
        self.request.write(self._event_of(chunk))

    def left(self) -> None:
        self._heartbeat.stop()
        super().left()

    def _beat(self) -> None:
        if self.subscription.paused:
            return
        sources = self._sources()
        if sources == self._told:
            self.request.write(b": still here\n\n")
        else:
            self._told = sources
            self.request.write(f"event: sources\ndata: {json.dumps(sources)}\n\n".encode())


def _event_of(epoch: str, chunk: Chunk) -> bytes:
    data = json.dumps({"source": chunk.source, "text": chunk.lines.decode("utf-8", "replace")})
    return f"id: {epoch}.{chunk.number}\ndata: {data}\n\n".encode()


def _wanted_bytes(query: dict[str, list[str]]) -> int:
    text = query.get("bytes", [str(HISTORY_BYTES)])[-1]
    wanted = whole_number(text)
    if wanted is None:
        raise BadRequest(f"bytes={text!r} is not a number of bytes; write for example ?bytes={RING_BYTES}")
    return min(wanted, RING_BYTES)
