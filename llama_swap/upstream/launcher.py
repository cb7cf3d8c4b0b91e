"""What stands between a model and the machine that runs it.

Nothing above this may assume that a model is a process here: a launcher could as well start it on another host.
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
        """Return it as text, where nobody of ours has ended the process.

        The kernel, in need of memory, sends SIGKILL; a shell or container around the server exits with 128 and that.
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
        """Ask it to leave; make it leave after `grace` seconds.  May be called again, to no further effect.

        What ends by itself is asked and made to leave as well, as far as it is still there.
        """

    def kill(self) -> None:
        """Make it leave now."""

    def alive(self) -> bool:
        """Whether it still runs, asked of the system this moment."""

    def last_output(self) -> str:
        """Return its last few lines, to explain an end."""


class Launcher(Protocol):
    """Starts models."""

    def launch(self, model: ModelConfig, ended: Callable[[ExitStatus], None], gone: Callable[[], None]) -> Child:
        """Start `model`.

        `ended` is called when its own process has exited, which is the end of its use, and `gone`, later or at once,
        when nothing of it is left: each at most once, and `gone` always.

        @raise StartFailed: it cannot be started; neither is called then.
        """
