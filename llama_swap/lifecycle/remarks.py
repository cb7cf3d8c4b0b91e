"""What is logged about a configuration, at the start and after each reload."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from attrs import frozen
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from llama_swap.config.contents import contents
from llama_swap.config.load import Loaded
from llama_swap.config.model import Config
from llama_swap.config.sources import Sources
from llama_swap.listening.address import OPEN_TO_ALL, Address, is_wide
from llama_swap.settings import problems_here


@frozen
class Remarks:
    """Logs remarks about configurations."""

    _loop: Any
    _run_beside: Callable[[Callable[[], None]], None]
    """Runs a function that may wait for disks in another thread."""
    _sources: Sources

    _log: ClassVar[Logger] = Logger()

    def tell(self, loaded: Loaded) -> None:
        """Log what `check` would say of a configuration; what needs a look at this machine, once the proxy runs."""
        for note in loaded.notes:
            self._log.info("{note}", note=note.render(str(self._sources)))
        for warning in loaded.warnings:
            self._warn(warning.render(str(self._sources)))
        self._loop.callWhenRunning(self._look_around, loaded)

    def introduce(self, config: Config, address: Address, listening: IAddress) -> None:
        """Log what is served, once it is, with a warning if other machines can use it without keys."""
        url, *_ = address.told(listening).split()
        page = f"; web interface: {url}/ui" if "://" in url else ""
        self._log.info("{file}: {contents}{page}", file=self._sources.named, contents=contents(config), page=page)
        if is_wide(listening) and not config.api_keys:
            self._warn(OPEN_TO_ALL)

    def _look_around(self, loaded: Loaded) -> None:
        with suppress(RuntimeError):  # no thread can be started; only these warnings are lost
            self._run_beside(partial(self._look, loaded))

    def _look(self, loaded: Loaded) -> None:
        for problem in problems_here(loaded):
            self._warn(problem.render(str(self._sources)))  # from this thread: a thousand of them take 15 ms

    def _warn(self, warning: str) -> None:
        self._log.warn("{text}", text=warning)
