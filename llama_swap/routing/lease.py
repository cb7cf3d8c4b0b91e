"""The right to send one request to a model."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from llama_swap.config.model import ModelConfig


@define(eq=False)
class Lease:
    """The right to send one request to a model that is ready.  It stays loaded until every lease on it is released."""

    model: ModelConfig
    _release: Callable[[bool], None]
    crashes: int = 0
    """How often the model had crashed when this was granted."""
    _released: bool = False

    def release(self, *, used: bool = True) -> None:
        """The request is over, however it ended.  Only the first call counts.

        If not `used`, the model's `ttl` runs on as if there had been no request.
        """
        if not self._released:
            self._released = True
            self._release(used)
