"""The life of the proxy: it listens, and drains when it is told to stop.

On SIGTERM or SIGINT no new connection is accepted, waiting requests get 503, loads and log streams end, and running
answers may finish.  A second signal cuts that short.  In the end, no model is left.  SIGHUP means to reload, or to stop
if the terminal closes.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.server import Site

from llama_swap.lifecycle.notify import notify
from llama_swap.lifecycle.terminal import Terminal
from llama_swap.listening.port import Listening
from llama_swap.routing.router import Router

ANSWERS_MAY_TAKE = 30.0
"""Seconds for which running answers may continue after the signal to stop."""
MODELS_MAY_TAKE = 3.0
"""Seconds for models to leave after that, whatever their `unloadTimeout`: service managers do not wait for long."""
HURRIED_MODELS_MAY_TAKE = 1.0
KILLED_MAY_TAKE = 0.75
"""Seconds for the kernel to end those that were then killed."""
LAST_STEP_MAY_TAKE = 0.5
"""Seconds that each of the last steps has at least; they are quick unless the system is in trouble."""
MANY_FILES = 65536


class SwapService(Service):
    """Serves the site, takes the signals, and drains."""

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        reactor: Any,
        site: Site,
        router: Router,
        *,
        listening: Listening,
        reload: Callable[[], None],
        close_streams: Callable[[], None],
        dismiss_guard: Callable[[], Deferred[None]],
        close_records: Callable[[], Deferred[None]],
        announce: Callable[[str], None],
        environ: Mapping[str, str],
        terminal: Terminal | None = None,
        beside: Sequence[Service] = (),
    ) -> None:
        """When `terminal` closes, the proxy ends; `beside` are services that run while it serves."""
        self._reactor = reactor
        self._site = site
        self._router = router
        self._listening = listening
        self._reload = reload
        self._close_streams = close_streams
        self._dismiss_guard = dismiss_guard
        self._close_records = close_records
        self._announce = announce
        self._environ = environ
        self._terminal = terminal
        self._beside = beside if terminal is None else [*beside, terminal]
        self._draining: Deferred[None] | None = None
        self._next_step: IDelayedCall | None = None
        self._told = False
        self._hurried = False

    def startService(self) -> None:
        """Listen.

        @raise CannotListen: the address cannot be used.
        """
        super().startService()
        _allow_many_files()
        self._listening.start(self._site)
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """Drain.  Fires when every model has exited, or time is up."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    def hurry(self) -> None:
        """Asked to stop again: cut the answers that still run, and kill models that do not leave."""
        if self._hurried:
            return
        self._hurried = True
        self._log.warn("asked again to stop: not waiting any longer")
        if self._draining is not None:
            self._draining.cancel()
        if self._next_step is not None and self._next_step.active():
            left = self._next_step.getTime() - self._reactor.seconds()
            self._next_step.reset(min(left, HURRIED_MODELS_MAY_TAKE))

    def _begin(self) -> None:
        """Announce that the proxy is ready, once its signal handlers are installed."""
        self._take_signals()
        self._announce(f"llama-swap listening on {self._listening.told()}")
        self._listening.open()
        for service in self._beside:
            service.startService()
        notify("READY=1", self._environ)

    # -- the end ----------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        notify("STOPPING=1", self._environ)
        for service in self._beside:
            self._try(service.stopService)
        await self._listening.stop()
        self._try(self._close_streams)
        await self._last_answers()
        cut = self._reactor.seconds()
        all_left = await self._end_models()
        await self._briefly(self._dismiss_guard(), "the guard of the models")
        left_over = cut + self._patience() - self._reactor.seconds()  # a slow disk may take what the models did not
        await self._briefly(self._close_records(), "the records; the latest activity may be lost", left_over)
        self._ignore_signals()
        if all_left:
            self._log.info("stopped; no model is left")

    def _try(self, step: Callable[[], object]) -> None:
        """Do one step of the shutdown; if it fails, the others are done nevertheless."""
        try:
            step()
        except Exception:  # noqa: BLE001 -- a defect
            self._log.failure("a defect of llama-swap, while it stops")

    async def _last_answers(self) -> None:
        self._draining = answered = self._router.close()
        if not answered.called:
            told = "waiting for running answers, {most:g} s at most; the same signal again cuts them"
            self._log.info(told, most=ANSWERS_MAY_TAKE)
        answered.addTimeout(0 if self._hurried else ANSWERS_MAY_TAKE, self._reactor)
        try:
            await answered
        except (DeferredTimeout, CancelledError):
            self._log.warn("cutting answers that did not end in time")

    async def _end_models(self) -> bool:
        """Stop every model; return whether all have exited."""
        gone: Deferred[None] = Deferred()  # one that may be cancelled
        self._router.unload_all().chainDeferred(gone)
        self._next_step = self._reactor.callLater(self._patience(), self._kill_models, gone)
        try:
            await gone
        except CancelledError:
            self._log.error("stopped; but the kernel has not ended all models yet, although they were killed")
            return False
        self._next_step.cancel()
        return True

    def _patience(self) -> float:
        return HURRIED_MODELS_MAY_TAKE if self._hurried else MODELS_MAY_TAKE

    def _kill_models(self, gone: Deferred[None]) -> None:
        self._next_step = self._reactor.callLater(KILLED_MAY_TAKE, gone.cancel)
        self._router.kill_all()

    async def _briefly(self, ended: Deferred[None], what: str, most: float = 0.0) -> None:
        """Wait for `ended`, `most` seconds, and at least `LAST_STEP_MAY_TAKE`."""
        self._next_step = step = self._reactor.callLater(max(most, LAST_STEP_MAY_TAKE), ended.cancel)
        try:
            await ended
        except CancelledError:
            self._log.warn("not waiting any longer for {what}", what=what)
        except Exception:  # noqa: BLE001 -- as above
            self._log.failure("a defect of llama-swap, while it waits for {what}", what=what)
        if step.active():
            step.cancel()

    # -- signals ----------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        """Replace Twisted's signal handlers, with which twistd's exit status would report the signal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        signal.signal(signal.SIGHUP, self._told_to_hang_up)

    def _ignore_signals(self) -> None:
        """Ignore signals from now on: Python drops our handlers as it exits, and a signal would then kill it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop_once)

    def _told_to_hang_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._hang_up)

    def _hang_up(self) -> None:
        if not self.running:
            return  # shutdown has begun
        if self._terminal is None:
            self._reload()
        else:
            self._terminal.hang_up(self._reload, self._stop_without_hurry)

    def _stop_without_hurry(self) -> None:
        if not self._told:  # the kernel and the shell may both send SIGHUP when the terminal closes
            self._stop_once()

    def _stop_once(self) -> None:
        if self.running and not self._told:
            self._told = True
            self._log.info("stopping")
            self._reactor.stop()
        else:
            self.hurry()


def _allow_many_files() -> None:
    """Raise the soft limit of file descriptors, usually 1,024, to the hard one: every client takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
