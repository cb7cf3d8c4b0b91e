"""Threads for what may block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_T = TypeVar("_T")


class Offload(Protocol):
    """Runs functions one after the other, in another thread."""

    def __call__(self, function: Callable[[], _T], /) -> Deferred[_T]: ...

    def stop(self) -> None:
        """End the thread, once nothing more will be run."""


class Worker:
    """An `Offload`: one thread, started when it is first needed, that runs functions one after the other.

    With `may_hang`, the end of the process does not wait for it.
    """

    def __init__(self, reactor: Any, name: str, *, may_hang: bool = False) -> None:
        self._reactor = reactor
        self._may_hang = may_hang
        self._pool = pool = ThreadPool(0, 1, name)
        cast(Any, pool).threadFactory = partial(Thread, daemon=may_hang)

    def __call__(self, function: Callable[[], _T], /) -> Deferred[_T]:
        """See `Offload`."""
        if not self._pool.started:
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function)

    def stop(self) -> None:
        """See `Offload.stop`."""
        if self._pool.started and not self._may_hang:
            self._pool.stop()
