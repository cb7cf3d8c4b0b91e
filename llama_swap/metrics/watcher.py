"""Looks at the hardware again and again, off the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.metrics.hardware import History, Sample, look
from llama_swap.metrics.log import Offload


class HardwareWatch(Service):
    """Takes a sample every so many seconds; one that takes longer than that delays the next one."""

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self, clock: IReactorTime, offload: Offload, every: float, look: Callable[[float], Sample] = look
    ) -> None:
        self.history = History(every)
        self._clock = clock
        self._offload = offload
        self._every = every
        self._look = look
        self._looking = LoopingCall(self._sample)
        self._looking.clock = clock

    def startService(self) -> None:
        """Begin, after one interval: at the start of the proxy there is enough to do."""
        super().startService()
        self._looking.start(self._every, now=False)

    def stopService(self) -> None:
        """Take no more samples."""
        super().stopService()
        self._looking.stop()
        self._offload.stop()

    def _sample(self) -> Deferred[None]:
        now = self._clock.seconds()
        return self._offload(lambda: self._look(now)).addCallbacks(self.history.add, self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.warn("cannot look at the hardware: {reason}", reason=failure.getErrorMessage())
