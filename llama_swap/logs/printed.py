"""Which lines are printed when the proxy runs in the foreground."""

from __future__ import annotations

from collections.abc import Callable

from llama_swap.logs.broadcaster import PROXY, UPSTREAM, Broadcaster
from llama_swap.logs.subscription import Subscription


class Printed:
    """Prints the lines of the `proxy`, of the models (`upstream`), of `both`, or, initially, of `none`."""

    def __init__(self, logs: Broadcaster, show: Callable[[bytes], object]) -> None:
        self._logs = logs
        self._show = show
        self._listening: list[Subscription] = []

    def follow(self, whose: str) -> None:
        """Print the lines of `whose` from now on: `proxy`, `upstream`, `both` or `none`."""
        for listener in self._listening:
            listener.stopProducing()
        sources = [source for source in (PROXY, UPSTREAM) if whose in {source, "both"}]
        self._listening = [self._logs.subscribe(source, self._show, history=None) for source in sources]
