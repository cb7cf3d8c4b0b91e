"""Reads the configuration again while the proxy runs.

Nothing changes until all of it is read and valid.  So a bad file costs one warning, and the old configuration stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.load import Loaded
from llama_swap.config.model import Config
from llama_swap.config.sources import Stamp, stamps_of
from llama_swap.errors import SwapError
from llama_swap.lifecycle.watch import Watch
from llama_swap.listening.port import Listening, ListeningPlan
from llama_swap.net.worker import NoThread, Worker
from llama_swap.routing.difference import Difference
from llama_swap.settings import Settings, load

_What = TypeVar("_What")
_log = Logger()


@define(eq=False)
class Reloading(Generic[_What]):
    """One reading at a time; any number of requests meanwhile lead to one more after it."""

    _read: Callable[[], Deferred[_What]]
    """Reads the files without blocking the reactor; fails with a SwapError if they cannot be used, or `NoThread`."""
    _apply: Callable[[_What], None]
    """Makes all parts follow what was read."""
    _reading: bool = False
    _wanted: bool = False

    _log: ClassVar[Logger] = Logger()

    def request(self) -> None:
        """The files may have changed: read them."""
        self._wanted = True
        if not self._reading:
            self._begin()

    def _begin(self) -> None:
        self._reading, self._wanted = True, False
        maybeDeferred(self._read).addCallback(self._apply).addErrback(self._refused).addCallback(self._ended)

    def _refused(self, failure: Failure) -> None:
        if failure.check(SwapError, NoThread):
            problems = " | ".join(failure.getErrorMessage().splitlines())  # one line in the log
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
    """The stamps of the files just before they were read."""
    loaded: Loaded
    plan: ListeningPlan
    prepared: _What


def reloading(
    loop: Any,
    settings: Settings,
    listening: Listening,
    *,
    ports: Callable[[], Mapping[str, int]],
    prepare: Callable[[Path, Config], _What],
    apply: Callable[[Config, _What], Difference],
    remark: Callable[[Loaded], None],
) -> tuple[Callable[[], None], list[Watch]]:
    """Return a function that requests a reload, and the watch of the files, if they are to be watched.

    The files of `settings`, certificates included, are watched and read in a thread; then `apply` follows them.
    `ports` returns the current `${PORT}` of models, which they keep if possible.
    `prepare` gets the directory for relative paths, and reads other files that the configuration names, also in that
    thread; it may raise a SwapError.  `apply` gets its result, and returns the difference.  `remark` then logs what
    there is to say about the configuration.
    """
    files = Worker(loop, "files")

    def read() -> Deferred[_Read[_What]]:
        return files(partial(read_all, ports()))

    def look() -> Deferred[Mapping[str, Stamp]]:
        return files(lambda: settings.stamps(listening.address))

    def read_all(current: Mapping[str, int]) -> _Read[_What]:
        stamps = settings.stamps(listening.address)  # taken first: changes from here on lead to another reading
        loaded = load(settings.sources, current)
        # A `listen` that was removed or mistyped is no reason to leave an address that clients know.
        address = settings.flags.address(loaded.config) if loaded.config.listen else listening.address
        stamps |= stamps_of(address.files)
        read = evolve(settings, loaded=loaded, address=address)
        with read.blaming("listen"):
            plan = listening.read(address)
        with read.blaming("store.path"):
            prepared = prepare(settings.flags.base, loaded.config)
        return _Read(stamps, loaded, plan, prepared)

    def follow(read: _Read[_What]) -> None:
        for watch in watching:
            watch.have_seen(read.stamps)
        loaded = read.loaded
        difference = apply(loaded.config, read.prepared)
        listening.follow(read.plan)  # last: a new address may be open to others, and needs the new keys
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
    watching = [] if before is None else [Watch(loop, look, before, request)]
    return request, watching
