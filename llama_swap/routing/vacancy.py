"""Lets a model go to an address only when none of ours is left there.

By the configuration no two that may run together share an address.  But after a change of it, a process may still be
leaving the address that another model has by now: under the name that this one had before, for instance.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred

from llama_swap.config.model import ModelConfig
from llama_swap.routing.upstream import Upstream
from llama_swap.upstream.machine import Readiness


@frozen
class Vacancy:
    """A `Readiness` that waits for our own processes to leave before it looks for strangers.

    It waits for none that may stay: that has an end, and a process that stays is told of as a stranger would be.
    """

    _readiness: Readiness
    _leaving: Callable[[tuple[str, int]], Upstream | None]
    """Gives one of ours that has a process at an address, and is to leave."""

    def address_free(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.address_free`."""
        return Deferred.fromCoroutine(self._until_free(model))

    def healthy(self, model: ModelConfig) -> Deferred[None]:
        """See `Readiness.healthy`."""
        return self._readiness.healthy(model)

    async def _until_free(self, model: ModelConfig) -> None:
        while (tenant := self._leaving(model.address)) is not None:
            await tenant.end()
        await self._readiness.address_free(model)
