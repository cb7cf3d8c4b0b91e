"""Reads the configuration again while the proxy runs.

What is read changes nothing before it is known to be whole and right.  So a bad file costs one warning, and the old
configuration goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from attrs import define, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.load import Loaded
from llama_swap.config.model import Config
from llama_swap.config.sources import Stamp, stamps_of
from llama_swap.errors import SwapError
from llama_swap.lifecycle.watch import Watch
from llama_swap.listening.port import Listening, ListeningPlan
from llama_swap.routing.difference import Difference
from llama_swap.routing.router import Router
from llama_swap.settings import Settings, load

_What = TypeVar("_What")
_log = Logger()


@define(eq=False)
class Reloading(Generic[_What]):
    """One reading at a time; whoever asks meanwhile gets one more after it, however many ask."""

    _read: Callable[[], Deferred[_What]]
    """Reads the files, where that keeps nobody waiting; fails with a SwapError where they cannot be used."""
    _apply: Callable[[_What], None]
    """Has everybody follow what was read."""
    _reading: bool = False
    _wanted: bool = False

    _log: ClassVar[Logger] = Logger()

    def request(self) -> None:
        """Somebody says that the files have changed."""
        self._wanted = True
        if not self._reading:
            self._begin()

    def _begin(self) -> None:
        self._reading, self._wanted = True, False
        maybeDeferred(self._read).addCallback(self._apply).addErrback(self._refused).addCallback(self._ended)

    def _refused(self, failure: Failure) -> None:
        if failure.check(SwapError):
            problems = " | ".join(failure.getErrorMessage().splitlines())  # a line of a log is one line
            self._log.warn("not reloaded, the configuration stays as it was: {problems}", problems=problems)
        else:
            self._log.failure("the configuration cannot be reloaded", failure)

    def _ended(self, _: None) -> None:
        self._reading = False
        if self._wanted:
            self._begin()


@frozen
class _Read(Generic[_What]):
    stamps: Mapping[str, Stamp]
    """How the files were just before."""
    loaded: Loaded
    plan: ListeningPlan
    prepared: _What


def reloading(
    loop: Any,
    settings: Settings,
    router: Router,
    listening: Listening,
    *,
    prepare: Callable[[Path, Config], _What],
    apply: Callable[[Config, _What], Difference],
    remark: Callable[[Loaded], None],
) -> tuple[Callable[[], None], list[Watch]]:
    """Return what asks for a reload, and what watches the files, if that is wanted.

    The files of `settings`, certificates included, are read in a thread; then `apply` follows them.
    `prepare` looks at what the configuration names outside itself, as paths from a directory on, in that thread too, or
    raises a SwapError; `apply` gets what it has seen, and returns what is different.  `remark` then tells what there is
    to say about it.
    """
    from twisted.internet.threads import deferToThreadPool

    def read() -> Deferred[_Read[_What]]:
        ports = router.ports()
        return deferToThreadPool(loop, loop.getThreadPool(), partial(read_all, ports))

    def read_all(ports: Mapping[str, int]) -> _Read[_What]:
        stamps = settings.stamps(listening.address)  # of before: what changes while it is read is read again
        loaded = load(settings.sources, ports)
        # A `listen` that is gone, or was mistyped, is no reason to leave those who know the address.
        address = settings.flags.address(loaded.config) if loaded.config.listen else listening.address
        stamps |= stamps_of(address.files)
        return _Read(stamps, loaded, listening.read(address), prepare(settings.flags.base, loaded.config))

    def follow(read: _Read[_What]) -> None:
        for watch in watching:
            watch.have_seen(read.stamps)
        loaded = read.loaded
        difference = apply(loaded.config, read.prepared)
        listening.follow(read.plan)  # now that keys are asked for, where they are wanted there
        then = settings.flags.address(loaded.config)
        if not loaded.config.listen and then != listening.address:
            _log.warn(
                "`listen` is gone from the file; staying on {here} until a restart, which goes to {there}",
                here=listening.address.text,
                there=then.text,
            )
        remark(loaded)
        _log.info("configuration reloaded ({difference})", difference=difference)

    request, before = Reloading(read, follow).request, settings.watched
    watching = [] if before is None else [Watch(loop, lambda: settings.stamps(listening.address), before, request)]
    return request, watching
