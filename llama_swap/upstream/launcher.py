"""The interface between a model's state machine and what runs the model.

Nothing above this may assume that a model is a local process: a launcher could as well start it on another host.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from llama_swap.config.model import ModelConfig


@frozen
class ExitStatus:
    """How a model's process ended: by itself with a code, or by a signal."""

    code: int | None = None
    signal: int | None = None

    def unasked(self) -> str:
        """Return it as text, with the likely cause, for a process that we have not ended ourselves.

        Out of memory, the kernel sends SIGKILL (9); a shell or container around the server then exits with 128 + 9.
        """
        if signal.SIGKILL not in {self.signal, (self.code or 0) - 128}:
            return str(self)
        how = f"exit status {self.code}" if self.signal is None else f"signal {self.signal}"
        return f"{how} (SIGKILL, perhaps for want of memory: see dmesg)"

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit status {self.code}"
        try:
            return f"signal {self.signal} ({signal.Signals(self.signal).name})"
        except ValueError:
            return f"signal {self.signal}"


class Child(Protocol):
    """A model that was launched."""

    def stop(self, grace: float) -> None:
        """Ask it to leave; kill it after `grace` seconds.  Further calls have no effect.

        Where it ends by itself, what it leaves behind is ended in the same way.
        """

    def kill(self) -> None:
        """Kill it now."""

    def alive(self) -> bool:
        """Whether it still runs, according to the system at this moment."""

    def last_output(self) -> str:
        """Return its last few lines of output, to explain how it ended."""


class Launcher(Protocol):
    """Starts models."""

    def launch(self, model: ModelConfig, ended: Callable[[ExitStatus], None], gone: Callable[[], None]) -> Child:
        """Start `model`.

        `ended` is called when its own process has exited, after which it cannot be used, and `gone`, then or later,
        when none of its processes is left: each at most once, and `gone` always.

        @raise StartFailed: it cannot be started; neither is called then.
        """
