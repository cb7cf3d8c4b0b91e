"""Runs a model's `cmdStop`, for servers that do not end by a signal to their command, such as many containers."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import PID, ModelConfig
from llama_swap.errors import StartFailed
from llama_swap.upstream.group import ProcessGroup
from llama_swap.upstream.output import Output
from llama_swap.upstream.spawning import OUTPUT_PATIENCE, spawn, status_of


@define(eq=False)
class StopCommand(ProcessProtocol):
    """One run of a `cmdStop`, in a process group of its own.  What it prints goes to the model's log."""

    _reactor: IReactorProcess
    _clock: IReactorTime
    _model: ModelConfig
    _environ: Mapping[str, str]
    _output: Output
    _finished: Deferred[bool] = field(factory=Deferred, init=False)
    _give_up_output: IDelayedCall | None = field(default=None, init=False)
    transport: Any = field(default=None, init=False)

    _log: ClassVar[Logger] = Logger()

    def run(self, pid: int) -> Deferred[bool]:
        """Run it for the model's process `pid`; fires with whether it succeeded."""
        argv = [word.replace(PID, str(pid)) for word in self._model.cmd_stop]
        try:
            spawn(self._reactor, self, argv, self._environ, f"models.{self._model.id}.cmdStop")
        except StartFailed as error:
            self._log.warn("{model}: cmdStop cannot run: {error}", model=self._model.id, error=error)
            self._finished.callback(False)
        return self._finished

    def kill(self) -> None:
        """Kill it now."""
        if self.transport is not None and self.transport.pid is not None:
            self._log.warn("{model}: cmdStop took too long: killed", model=self._model.id)
            ProcessGroup(b"", self.transport.pid).signal(signal.SIGKILL)

    def connectionMade(self) -> None:
        """Close its standard input."""
        self._log.info("{model}: cmdStop runs as process {pid}", model=self._model.id, pid=self.transport.pid)
        self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Pass its output to the log."""
        self._output.write(childFD, data)

    def processExited(self, reason: Failure) -> None:
        """It has exited; processes that it left behind may hold its pipes open."""
        self._give_up_output = self._clock.callLater(OUTPUT_PATIENCE, self.transport.loseConnection)

    def processEnded(self, reason: Failure) -> None:
        """It has exited, and all output was read."""
        if self._give_up_output is not None and self._give_up_output.active():
            self._give_up_output.cancel()
        self._output.end()
        status = status_of(reason)
        if status.code != 0:
            self._log.warn("{model}: cmdStop ended with {status}", model=self._model.id, status=status)
        self._finished.callback(status.code == 0)
