"""Passes every line of the models and of the proxy to the histories and to the listeners.

They share the chunks of lines, which are not copied.  All of this runs in the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from llama_swap.logs.lines import LineSplitter
from llama_swap.logs.ring import Chunk, Ring
from llama_swap.logs.subscription import Subscription

PROXY = "proxy"
"""The source of the proxy's own lines."""
UPSTREAM = "upstream"
"""The source of the lines of all models."""
HISTORY_BYTES = 10 * 1024
"""Bytes of history that are shown by default."""
SLICE = 64 * 1024


@define
class _Channel:
    """One source: its history and its listeners."""

    ring: Ring = field(factory=Ring)
    listeners: tuple[Subscription, ...] = ()

    def publish(self, chunk: Chunk) -> None:
        self.ring.append(chunk)
        # `listeners` is a tuple, since it may be replaced while a listener is called.
        for listener in self.listeners:
            listener.offer(chunk)

    def leave(self, listener: Subscription) -> None:
        self.listeners = tuple(other for other in self.listeners if other is not listener)


@define
class LogWriter:
    """Takes one output stream of one process, in slices of any size."""

    _publish: Callable[[bytes], None]
    _splitter: LineSplitter = field(factory=LineSplitter, init=False)

    def write(self, data: bytes) -> None:
        """Publish the lines that `data` completes."""
        # In slices, so that no ring keeps a huge chunk for the sake of its last lines.
        for start in range(0, len(data), SLICE):
            if lines := self._splitter.feed(data[start : start + SLICE]):
                self._publish(lines)

    def end(self) -> None:
        """End the stream, and publish its unfinished line, if there is one."""
        if lines := self._splitter.end():
            self._publish(lines)


class Broadcaster:
    """Histories and listeners of each model, of all models, of the proxy, and of all sources together.

    A source is named by the model's id, by "upstream" (all models), by "proxy", or by None for everything.  A model
    with the id "proxy" or "upstream" has no source of its own.  A model's history outlives its process.
    """

    def __init__(self) -> None:
        self._together = _Channel()
        self._shared = {PROXY: _Channel(), UPSTREAM: _Channel()}
        self._models: dict[str, _Channel] = {}
        self._number = 0
        self._proxy = LogWriter(lambda lines: self._publish(PROXY, lines, self._shared[PROXY]))

    def writer(self, model_id: str) -> LogWriter:
        """Return a writer for one output stream of `model_id`; stdout and stderr need one each."""
        channels = (self._models.setdefault(model_id, _Channel()), self._shared[UPSTREAM])
        return LogWriter(lambda lines: self._publish(model_id, lines, *channels))

    def publish_proxy(self, line: bytes) -> None:
        """Publish whole lines of the proxy itself; a missing last newline is added."""
        self._proxy.write(line)
        self._proxy.end()

    def sources(self) -> list[str]:
        """Return the names of all sources, except None: first the shared ones, then the models."""
        return [*self._shared, *(model for model in self._models if model not in self._shared)]

    def history(self, source: str | None = None, limit: int = HISTORY_BYTES) -> bytes:
        """Return the newest whole lines of a source that fit into `limit` bytes, 100 KiB at most."""
        channel = self._together if source is None else self._shared.get(source) or self._models.get(source)
        return b"".join(chunk.lines for chunk in channel.ring.tail(limit)) if channel else b""

    def subscribe(self, source: str | None, deliver: Callable[[bytes], object], *, history: int | None) -> Subscription:
        """Call `deliver` with the newest `history` bytes of lines (None: none), and from then on with new lines."""
        subscription = self.follow(source, lambda chunk: deliver(chunk.lines), history=history)
        subscription.resumeProducing()
        return subscription

    def follow(
        self,
        source: str | None,
        deliver: Callable[[Chunk], object],
        *,
        history: int | None,
        after: int | None = None,
    ) -> Subscription:
        """Like `subscribe`, but deliver chunks, which name their source; nothing comes before `resumeProducing`.

        `after` is the number of the last chunk that a listener got before it lost its connection: then, instead of
        `history`, it gets the chunks since, with a notice in front if some of them are no longer in the history.
        """
        channel = self._channel(source)
        if after is not None:
            past = channel.ring.after(after)
            if channel.ring.has_lost_after(after):
                past.insert(0, Chunk("", after, "— older lines are gone from the history —\n".encode()))
        else:
            past = channel.ring.tail(history) if history else []
        subscription = Subscription(deliver, past, channel.leave)
        channel.listeners = (*channel.listeners, subscription)
        return subscription

    def _channel(self, source: str | None) -> _Channel:
        if source is None:
            return self._together
        return self._shared.get(source) or self._models.setdefault(source, _Channel())

    def _publish(self, source: str, lines: bytes, *channels: _Channel) -> None:
        self._number += 1
        chunk = Chunk(source, self._number, lines)
        for channel in (*channels, self._together):
            channel.publish(chunk)
