"""`/api/events`: a live event stream for pages that show the state of the proxy.

The framing and the messages are those of the original llama-swap.  Changes are collected four times a second, once for
all clients; a client that was too slow gets the whole state as soon as it reads again, so nothing queues up.
`?no-logs` leaves out the log lines, which are most of it where models print much.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from klein import Klein
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from llama_swap.config.sections import UIConfig
from llama_swap.errors import Unavailable
from llama_swap.logs.broadcaster import PROXY, UPSTREAM, Broadcaster
from llama_swap.logs.ring import Chunk
from llama_swap.metrics.records import Records
from llama_swap.routing.router import Router
from llama_swap.server.answers import begin_stream, query_of
from llama_swap.web.statuses import Statuses

EVERY = 0.25
"""Seconds between two looks for changes."""
HEARTBEAT_TICKS = 60
"""Looks between two comments, which show both ends that the other is still there."""
MAX_FEEDS = 100


class EventRoutes:
    """Serves the events."""

    def __init__(self, router: Router, records: Records, logs: Broadcaster, clock: IReactorTime) -> None:
        self._router = router
        self._records = records
        self._logs = logs
        self._statuses = Statuses(router, clock, records.epoch)
        self._feeds: set[_Feed] = set()
        self._closed = False
        self._ticks = 0
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._models: object = None
        self._ui: UIConfig | None = None
        self._profile: str | None = None
        self._activity = 0
        self._in_flight: dict[int, tuple[int, int]] = {}

    def add_to(self, app: Klein) -> None:
        """Register the route."""
        app.route("/api/events", methods=["GET", "HEAD"])(self.events)

    def events(self, request: Request) -> Resource:
        """Return the stream of events, which lasts as long as the client stays."""
        if self._closed:
            raise Unavailable("llama-swap is shutting down")
        if len(self._feeds) >= MAX_FEEDS:
            raise Unavailable(f"all {MAX_FEEDS} event streams are in use; close one and try again")
        return _Feed(self, self._logs, () if "no-logs" in query_of(request) else (PROXY, UPSTREAM))

    def close(self) -> None:
        """End every stream, and refuse new ones."""
        self._closed = True
        for feed in tuple(self._feeds):
            feed.end()

    def join(self, feed: _Feed) -> None:
        """Send changes to `feed` from now on."""
        self._feeds.add(feed)
        if not self._looking.running:
            self._news()  # drops the changes of before
            self._looking.start(EVERY, now=False)

    def leave(self, feed: _Feed) -> None:
        """Send nothing more to `feed`."""
        self._feeds.discard(feed)
        if not self._feeds and self._looking.running:
            self._looking.stop()

    def greeting(self) -> bytes:
        """Return the state of everything but the logs."""
        return self._model_status() + self._ui_config() + self._profile_changed() + self._snapshot()

    def state(self) -> bytes:
        """Return the same, and which entry of the activity is the latest."""
        return self.greeting() + _message("activity", {"id": self._records.activity.latest})

    # -- what there is to tell --------------------------------------------------------------------------------

    def _look(self) -> None:
        self._records.settle()
        news = self._news()
        self._ticks += 1
        if self._ticks % HEARTBEAT_TICKS == 0:
            news += b": still here\n\n"
        # What many clients get is made once: of a model that prints much, it takes milliseconds.
        state, log_data = cache(self.state), cache(_log_data)
        for feed in tuple(self._feeds):
            feed.tell(news, state, log_data)

    def _news(self) -> bytes:
        """Return what has changed since the last call."""
        news = list(self._in_flight_news())
        router, upstreams = self._router, self._router.upstreams
        models = (upstreams.states(), upstreams.ready_since(), upstreams.mishaps(), router.config, router.peers.seen)
        if self._models != models:
            self._models = models
            news.insert(0, self._model_status())
        if self._ui != (ui := self._router.config.ui):
            self._ui = ui
            news.append(self._ui_config())
        if self._profile != (active := self._router.names.active):
            self._profile = active
            news.append(self._profile_changed())
        if self._activity != (latest := self._records.activity.latest):
            self._activity = latest
            news.append(_message("activity", {"id": latest}))
        return b"".join(news)

    def _model_status(self) -> bytes:
        return _event("modelStatus", self._statuses.as_json())

    def _ui_config(self) -> bytes:
        return _message("uiConfig", {"activity": {"session_id": list(self._router.config.ui.activity.session_id)}})

    def _profile_changed(self) -> bytes:
        return _message("profileChanged", {"active": self._router.names.active})

    def _snapshot(self) -> bytes:
        requests = [request.as_json() for request in self._records.in_flight]
        return _message("inflight", {"operation": "snapshot", "requests": requests})

    def _in_flight_news(self) -> Iterable[bytes]:
        known, self._in_flight = self._in_flight, {}
        for request in self._records.in_flight:
            seen = self._in_flight[request.number] = (request.status, request.size)
            if known.pop(request.number, None) != seen:
                yield _message("inflight", {"operation": "upsert", "request": request.as_json()})
        for number in known:
            yield _message("inflight", {"operation": "remove", "id": str(number)})


@implementer(IPushProducer)
class _Feed(Resource):
    """One client that listens."""

    isLeaf = True

    def __init__(self, routes: EventRoutes, logs: Broadcaster, sources: Sequence[str]) -> None:
        super().__init__()
        self._routes = routes
        self._logs = logs
        self._sources = sources
        self._lines: list[bytes] = []
        self._paused = False
        self._missed = False

    def render_HEAD(self, request: Request) -> int:
        begin_stream(request, b"text/event-stream")
        request.finish()
        return NOT_DONE_YET

    def render_GET(self, request: Request) -> int:
        begin_stream(request, b"text/event-stream")
        self._request = request
        self._following = [(source, self._logs.follow(source, self._gather, history=None)) for source in self._sources]
        history = (_log_data(source, self._logs.history(source)) for source in self._sources)
        request.registerProducer(self, True)
        request.write(b"".join([*history, self._routes.greeting()]))
        self._routes.join(self)
        request.notifyFinish().addBoth(self._left)
        return NOT_DONE_YET

    def tell(self, news: bytes, state: Callable[[], bytes], log_data: Callable[..., bytes]) -> None:
        """Pass on `news`, or all `state` if some was missed, and new lines; nothing while the client does not read."""
        if self._paused:
            self._missed = True
            return
        if self._missed:
            self._missed = False
            news = state()
        if news:
            self._request.write(news)
        for source, subscription in self._following:
            subscription.resumeProducing()
            subscription.pauseProducing()
            if self._lines:
                self._request.write(log_data(source, *self._lines))
                self._lines.clear()

    def end(self) -> None:
        """End the stream."""
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._paused = False

    def stopProducing(self) -> None:
        """The client is gone; `_left` is called as well."""

    def _gather(self, chunk: Chunk) -> None:
        self._lines.append(chunk.lines)

    def _left(self, _: object) -> None:
        for _source, subscription in self._following:
            subscription.stopProducing()
        self._routes.leave(self)


def _log_data(source: str, *lines: bytes) -> bytes:
    return _message("logData", {"source": source, "data": b"".join(lines).decode("utf-8", "replace")})


def _message(kind: str, data: object) -> bytes:
    return _event(kind, json.dumps(data))


def _event(kind: str, data: str) -> bytes:
    """Return a server-sent event: JSON whose `data` is a string, which is JSON again."""
    return b"event:message\ndata:%b\n\n" % json.dumps({"type": kind, "data": data}).encode()
