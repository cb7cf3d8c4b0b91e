"""Threads for what may block.

The end of the process waits for none of them: a disk or a name server may never answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_T = TypeVar("_T")


class NoThread(Exception):
    """The system lets us start no thread at the moment."""

    def __str__(self) -> str:
        return (
            "the system lets llama-swap start no more threads at the moment; a limit may be too low (`ulimit -u`, "
            "systemd's TasksMax=, a container's --pids-limit)"
        )


class Offload(Protocol):
    """Runs functions one after the other, in another thread.

    It never raises; where no thread can be started, the Deferred fails with `NoThread`.
    """

    def __call__(self, function: Callable[[], _T], /) -> Deferred[_T]: ...


class Worker:
    """An `Offload`: one thread, started when it is first needed, that runs functions one after the other."""

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = pool_of(1, name)

    def __call__(self, function: Callable[[], _T], /) -> Deferred[_T]:
        """See `Offload`."""
        if not self._pool.started:
            self._pool.start()
        try:
            return deferToThreadPool(self._reactor, self._pool, function)
        except RuntimeError:
            return fail(NoThread())


def pool_of(most: int, name: str) -> ThreadPool:
    """Return a pool of at most so many threads."""
    pool = ThreadPool(0, most, name)
    cast(Any, pool).threadFactory = partial(Thread, daemon=True)
    return pool
