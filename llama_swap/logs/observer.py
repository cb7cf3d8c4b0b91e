"""Renders the proxy's own log events as lines.

Values in an event may come from a client (a path, a User-Agent, a model's name), so line breaks and terminal controls
are escaped: each event is one line, and a traceback that follows it is indented.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import current_thread, main_thread

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer

from llama_swap.logs.times import time_format

OWN_TIME = time_format("")
Sink = Callable[[bytes], object]
"""Takes whole lines, in UTF-8."""


@implementer(ILogObserver)
class LineObserver:
    """Renders each event once, for all sinks.

    The sinks are called in the thread that logged; see `in_reactor` for those that are not thread-safe.
    """

    def __init__(self, *sinks: Sink, write_time: Callable[[float], str] = OWN_TIME) -> None:
        self._sinks = sinks
        self.write_time = write_time

    def __call__(self, event: LogEvent) -> None:
        """Write one event to the sinks, unless it has neither text nor failure."""
        if lines := event_lines(event, self.write_time):
            for sink in self._sinks:
                sink(lines)


def in_reactor(reactor: IReactorFromThreads, sink: Sink) -> Sink:
    """Return a thread-safe sink that calls `sink` in the reactor's thread, which is the main one."""

    def hop(lines: bytes) -> None:
        if current_thread() is main_thread():
            sink(lines)
        else:
            reactor.callFromThread(sink, lines)

    return hop


def event_lines(event: LogEvent, write_time: Callable[[float], str] = OWN_TIME) -> bytes:
    """Return `2026-11-22 18:00:00 [INFO] text`, followed by the traceback of a failure; empty if there is nothing."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    if not text and failure is None:
        return b""
    level = event.get("log_level")
    when = write_time(event["log_time"])
    lines = [f"{when} [{level.name.upper() if level else 'INFO'}] {escaped(text)}"]
    if failure is not None:
        lines += ("  " + escaped(line) for line in failure.getTraceback().rstrip("\n").split("\n"))
    return "".join(f"{line}\n" for line in lines).encode()


def escaped(text: str) -> str:
    """Return `text` with what is not printable (controls, line and direction marks) escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
