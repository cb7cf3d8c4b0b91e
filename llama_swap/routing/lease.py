"""The right to send one request to a model."""

from __future__ import annotations

from typing import Protocol

from attrs import define

from llama_swap.config.model import ModelConfig
from llama_swap.scheduling.commands import Ticket


class Lessor(Protocol):
    """Who grants leases."""

    def released(self, ticket: Ticket, *, used: bool) -> None:
        """The lease for `ticket` was released."""


@define(eq=False)
class Lease:
    """The right to send one request to a model that is ready.  It stays loaded until every lease on it is released."""

    model: ModelConfig
    _lessor: Lessor
    _ticket: Ticket
    crashes: int = 0
    """How often the model had crashed when this was granted."""
    _released: bool = False

    def release(self, *, used: bool = True) -> None:
        """The request is over, however it ended.  Only the first call counts.

        If not `used`, the model's `ttl` runs on as if there had been no request.
        """
        if not self._released:
            self._released = True
            self._lessor.released(self._ticket, used=used)
