"""Lets a model start at an address only when none of our other models is left there.

In one configuration, no two models that may run together share an address.  But after a reload, a process may still be
leaving an address that now belongs to another model, for example to the same one under a new name.
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
    """A `Readiness` that waits for our own processes to leave an address before it looks for strangers there.

    It waits only for processes that are leaving; one that stays is reported like a stranger.
    """

    _readiness: Readiness
    _leaving: Callable[[tuple[str, int]], Upstream | None]
    """Returns a model of ours that has a process at an address, and must leave."""

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
