"""Keeps a model that dies before it is ready from being started for every request."""

from __future__ import annotations

from math import ceil

from attrs import define

from llama_swap.errors import SwapError, Unavailable

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


@define(eq=False)
class Backoff:
    """One model's failed starts in a row, and for how long the next one is refused.

    After one failure, the next request tries again at once.  From the second on, there are pauses, which double.
    """

    _failures: int = 0
    _pause: float = 0.0
    _until: float = 0.0
    _error: SwapError | None = None

    def failed(self, error: SwapError, now: float) -> None:
        """A start failed, at `now` (seconds of a clock)."""
        self._failures += 1
        self._error = error
        if self._failures > 1:
            self._pause = min(2 * self._pause or FIRST_PAUSE, LONGEST_PAUSE)
            self._until = now + self._pause

    def reset(self) -> None:
        """The model became ready, or was stopped on purpose."""
        self._failures = 0
        self._pause = self._until = 0.0
        self._error = None

    def refusal(self, now: float) -> Unavailable | None:
        """Return the error for a request that would start the model now; None if it may."""
        if now >= self._until:
            return None
        seconds = ceil(self._until - now)
        too_soon = f"not started again so soon after {self._failures} failures; try again in {seconds} s"
        refusal = Unavailable(f"{too_soon}. The last: {self._error}")
        refusal.retry_after = seconds
        return refusal
