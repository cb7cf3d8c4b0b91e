"""Samples the hardware periodically, in a worker thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.metrics.hardware import History, Sample, look
from llama_swap.net.worker import Offload


class HardwareWatch(Service):
    """Takes a sample every so many seconds, if configured; one that takes longer delays the next one."""

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        offload: Offload,
        look: Callable[[float], Sample] = look,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self.history: History | None = None
        """None: no samples are taken."""
        self._clock = clock
        self._offload = offload
        self._look = look
        self._time_of_day = time_of_day
        self._every: float | None = None
        self._looking: LoopingCall | None = None
        self._problem = ""

    def follow(self, every: float | None) -> None:
        """Take samples every `every` seconds from now on; None: stop, and drop the history."""
        if every != self._every:
            self._every = every
            if every is None:
                self.history = None
            elif self.history is None:
                self.history = History(every)
            else:
                self.history.follow(every)
            if self.running:
                self._stop()
                self._start()

    def startService(self) -> None:
        """Begin, with the first sample after one interval, so that it does not slow down the start of the proxy."""
        super().startService()
        self._start()

    def stopService(self) -> None:
        """Take no more samples."""
        super().stopService()
        self._stop()

    def _start(self) -> None:
        if self._every is not None:
            self._looking = looking = LoopingCall(self._sample, self.history)
            looking.clock = self._clock
            looking.start(self._every, now=False)

    def _stop(self) -> None:
        if self._looking is not None:
            self._looking.stop()
            self._looking = None

    def _sample(self, history: History) -> Deferred[None]:
        now = self._time_of_day()
        return self._offload(lambda: self._look(now)).addCallbacks(self._seen, self._failed, (history,))

    def _seen(self, sample: Sample, history: History) -> None:
        self._problem = ""
        history.add(sample)

    def _failed(self, failure: Failure) -> None:
        problem = failure.getErrorMessage()
        if problem != self._problem:  # what lasts is told once
            self._log.warn("cannot look at the hardware: {reason}", reason=problem)
        self._problem = problem
