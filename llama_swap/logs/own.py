"""The log level and the time format of the proxy's own lines."""

from __future__ import annotations

from twisted.logger import FilteringLogObserver, ILogObserver, LogLevel, LogLevelFilterPredicate

from llama_swap.logs.observer import LineObserver, Sink
from llama_swap.logs.times import time_format


class OwnLines:
    """Makes observers whose level and time format can be changed while they work."""

    def __init__(self, level: str, time_layout: str) -> None:
        self._filter = LogLevelFilterPredicate(LogLevel.info)
        for namespace in ("twisted", "log_legacy"):  # Twisted's own routine messages
            self._filter.setLogLevelForNamespace(namespace, LogLevel.warn)
        self._observers: list[LineObserver] = []
        self.follow(level, time_layout)

    def follow(self, level: str, time_layout: str) -> None:
        """Show events from `level` (debug, info, warn, error) on, with a layout of `llama_swap.logs.times`."""
        self._filter.setLogLevelForNamespace("llama_swap", LogLevel.levelWithName(level))
        self._write_time = time_format(time_layout)
        for observer in self._observers:
            observer.write_time = self._write_time

    def observer(self, sink: Sink) -> ILogObserver:
        """Return an observer that writes to `sink`."""
        observer = LineObserver(sink, write_time=self._write_time)
        self._observers.append(observer)
        return FilteringLogObserver(observer, [self._filter])
