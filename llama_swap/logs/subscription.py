"""One listener of a log, which may be slower than the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from llama_swap.logs.backlog import Backlog
from llama_swap.logs.ring import Chunk


@implementer(IPushProducer)
class Subscription:
    """Delivers chunks in order; while it is paused, they wait in a bounded backlog.

    It starts paused, with `history` queued: so what is published before `resumeProducing` follows the history,
    without gap or duplicate.  `left` is called once, when it stops.
    """

    _log = Logger()

    def __init__(
        self,
        deliver: Callable[[Chunk], object],
        history: Iterable[Chunk],
        left: Callable[[Subscription], None],
    ) -> None:
        self._deliver = deliver
        self._left = left
        self._backlog = Backlog()
        self._delivering = False
        self._stopped = False
        self.paused = True
        for chunk in history:
            self._backlog.push(chunk)

    def offer(self, chunk: Chunk) -> None:
        """Queue `chunk`, and deliver it now unless paused."""
        if not self._stopped:
            self._backlog.push(chunk)
            self._flush()

    def pauseProducing(self) -> None:
        """Queue chunks for now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Deliver what waits, and from then on each chunk at once."""
        self.paused = False
        self._flush()

    def stopProducing(self) -> None:
        """Deliver nothing any more; further calls have no effect."""
        if not self._stopped:
            self._stopped = True
            self._backlog.clear()
            self._left(self)

    def _flush(self) -> None:
        if self._delivering:  # called from within `deliver`, which logged a line, or paused and resumed us
            return
        self._delivering = True
        try:
            while not self.paused and (chunk := self._backlog.pop()):
                self._deliver(chunk)
        except Exception:  # noqa: BLE001 - a defect in one listener must not reach the writer
            # Stopped before that is logged: this listener may listen to that very log.
            self.stopProducing()
            self._log.failure("A listener of the log failed; it is dropped")
        finally:
            self._delivering = False
