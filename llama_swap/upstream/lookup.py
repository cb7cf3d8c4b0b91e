"""Waits for the disks on which a model's programs are looked for, before it is launched.

A launch looks for them in the reactor's thread, and so does the kernel for `setsid`, along `PATH`.  A disk that sleeps,
or whose server is down, would hold up everybody.  So all of that is looked for in another thread first: what was found
there, or not found, is in the kernel's memory when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from llama_swap.config.model import ModelConfig
from llama_swap.errors import StartFailed
from llama_swap.upstream.machine import Readiness
from llama_swap.upstream.needs import program_for
from llama_swap.upstream.spawning import LEADER

PATIENCE = 30.0
"""Seconds for the disks to answer: one that sleeps needs ten."""


@frozen
class LookupFirst:
    """A `Readiness` that lets a model start only when the disks of its programs answer."""

    _readiness: Readiness
    _reactor: Any
    _run_beside: Callable[[Callable[[], None]], None]
    """Runs a function that may wait for disks in another thread."""

    def address_free(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.address_free`."""
        return Deferred.fromCoroutine(self._until_free(model))

    def healthy(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.healthy`."""
        return self._readiness.healthy(model)

    async def _until_free(self, model: ModelConfig) -> None:
        await self._disks_answer(model)
        await self._readiness.address_free(model)

    async def _disks_answer(self, model: ModelConfig) -> None:
        looked: Deferred[None] = Deferred()
        try:
            self._run_beside(partial(self._look, model, looked))
        except RuntimeError:  # no thread can be started: the launch has to wait for the disks itself
            return
        try:
            await looked.addTimeout(PATIENCE, self._reactor)
        except DeferredTimeout:
            raise StartFailed(
                f"model {model.id} cannot start: its program (models.{model.id}.cmd) cannot be looked for, since a "
                f"disk, its own or one of those in PATH, has not answered for {PATIENCE:g} s"
            ) from None

    def _look(self, model: ModelConfig, looked: Deferred[None]) -> None:
        try:
            for words in filter(None, ((LEADER,), model.cmd, model.cmd_stop)):
                program_for(words, model.env.get("PATH"))
        finally:
            self._reactor.callFromThread(_tell, looked)


def _tell(looked: Deferred[None]) -> None:
    if not looked.called:  # else nobody waits any more
        looked.callback(None)
