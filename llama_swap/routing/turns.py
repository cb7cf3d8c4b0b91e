"""Carries out commands one at a time: one may cause events, and so commands, that must not overtake those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar

from twisted.logger import Logger

from llama_swap.scheduling.commands import Command


class InTurn:
    """Called with commands, passes each to `carry_out`, after those that came before."""

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
            except Exception:  # noqa: BLE001 -- the other models' commands must be carried out nevertheless
                self._log.failure("cannot carry out {command}", command=command)
        self.busy = False
