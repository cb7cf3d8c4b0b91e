"""Runs the proxy without anybody who remembers its requests: `unrecorded.py ARGUMENTS…`, as those of `llama-swap`.

That is no way of running it, since nobody could see what it does; beside it shows what remembering costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_swap.cli import main
from llama_swap.metrics.inflight import InFlight


class Unrecorded:
    """Has what relaying a request takes, and notes nothing (see `llama_swap.metrics.inflight.InFlightRequest`)."""

    __slots__ = ("cancel", "client", "fields", "method")

    def __init__(self, method: bytes, fields: Any, client: bytes | None) -> None:
        self.method = method
        self.fields = fields
        self.client = client
        self.cancel: Callable[..., object] | None = None

    def grant(self) -> None:
        """See `InFlightRequest.grant`."""

    def begin(self, status: int, fields: Any, *, chunked: bool) -> None:
        """See `AnswerObserver.begin`."""

    def data(self, data: bytes) -> None:
        """See `AnswerObserver.data`."""

    def over(self, error: object = None) -> None:
        """See `InFlightRequest.over`."""
        self.cancel = None


def add(_: InFlight, model: str, *, method: bytes, fields: Any, client: bytes | None, **unseen: object) -> Unrecorded:
    """Return what stands for a request; nobody else knows of it."""
    return Unrecorded(method, fields, client)


if __name__ == "__main__":
    InFlight.add = add  # type: ignore[assignment,method-assign]
    main()
