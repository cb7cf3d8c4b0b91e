"""Commands are carried out one at a time: one may cause an event at once, which must not overtake those before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar

from twisted.logger import Logger

from llama_swap.scheduling.commands import Command


class InTurn:
    """Called with commands, gives each to `carry_out`: after those that are under way already."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, carry_out: Callable[[Command], None]) -> None:
        self._carry_out = carry_out
        self._commands: deque[Command] = deque()
        self.busy = False

    def __call__(self, commands: Iterable[Command]) -> None:
        self._commands.extend(commands)
        if self.busy:
            return
        self.busy = True
        while self._commands:
            command = self._commands.popleft()
            try:
                self._carry_out(command)
            except Exception:  # noqa: BLE001 -- what goes wrong with one model must not keep others from their turn
                self._log.failure("cannot carry out {command}", command=command)
        self.busy = False
