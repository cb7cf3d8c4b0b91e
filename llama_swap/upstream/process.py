"""Models as processes of this machine, each the leader of a process group of its own.

A model counts as gone when no process of its group runs, nor any that left the group: only then its memory and its port
are free for the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import ModelConfig
from llama_swap.errors import StartFailed
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.upstream.ending import Ending, call_off
from llama_swap.upstream.group import ProcessGroup, writers_to
from llama_swap.upstream.guard import MARK, Guard
from llama_swap.upstream.launcher import ExitStatus
from llama_swap.upstream.output import Output
from llama_swap.upstream.spawning import OUTPUT_PATIENCE, spawn, status_of
from llama_swap.upstream.stop_command import StopCommand

OWN_VARIABLES = frozenset(
    {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"}
)
"""Variables from the service manager that are meant for this process, not for models."""


class LocalLauncher:
    """A `Launcher` that runs `cmd` here, without a shell."""

    def __init__(
        self,
        reactor: IReactorProcess,
        clock: IReactorTime,
        logs: Broadcaster,
        guard: Guard,
        environ: Mapping[str, str],
        *,
        secrets: Collection[str] = (),
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._logs = logs
        self._guard = guard
        self._environ = {name: value for name, value in environ.items() if name not in OWN_VARIABLES}
        self.secrets = secrets
        """API keys of our clients: models do not get environment variables that contain one."""

    def launch(self, model: ModelConfig, ended: Callable[[ExitStatus], None], gone: Callable[[], None]) -> LocalChild:
        """See `Launcher.launch`."""
        try:
            mark = self._guard.mark()
        except OSError as error:
            raise StartFailed(f"model {model.id} cannot start: {error}") from error
        inherited = {name: value for name, value in self._environ.items() if value not in self.secrets}
        environ = {**inherited, **model.env, MARK: mark}

        def forget() -> None:
            self._guard.forget(child.pid)
            gone()

        stop_command = None
        if model.cmd_stop:
            output = Output(model.id, self._logs)
            stop_command = StopCommand(self._reactor, self._clock, model, environ, output)
        child = LocalChild(
            self._clock,
            model,
            Output(model.id, self._logs),
            mark=mark,
            stop_command=stop_command,
            ended=ended,
            gone=forget,
        )
        try:
            spawn(self._reactor, child, model.cmd, environ, f"models.{model.id}.cmd")
        except StartFailed as error:
            raise StartFailed(f"model {model.id} cannot start: {error}") from error
        self._guard.watch(child.pid)
        return child


class LocalChild(ProcessProtocol):
    """A `Child` that is a process of this machine, with all its descendants."""

    _log: ClassVar[Logger] = Logger()
    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        model: ModelConfig,
        output: Output,
        *,
        mark: str,
        stop_command: StopCommand | None = None,
        ended: Callable[[ExitStatus], None],
        gone: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._model = model
        self._output = output
        self._ended = ended
        self._gone = gone
        self._group = ProcessGroup(f"{MARK}={mark}".encode())
        self._ending = Ending(clock, model.id, self._group, stop_command, model.unload_timeout, self._everybody_left)
        self._status: ExitStatus | None = None
        self._told = False
        self._tell_later: IDelayedCall | None = None
        self._close_later: IDelayedCall | None = None
        self._nobody_left = False
        self._output_read = False
        self._reported = False

    @property
    def pid(self) -> int:
        """The leader, and the group; known once it is spawned."""
        return self._group.leader

    # -- Child ------------------------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """See `Child.stop`."""
        self._ending.begin(grace)

    def kill(self) -> None:
        """See `Child.kill`."""
        self._ending.kill()

    def alive(self) -> bool:
        """See `Child.alive`."""
        if self._status is not None:
            return False
        # WNOWAIT leaves the exit to be collected by the reactor.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def last_output(self) -> str:
        """See `Child.last_output`."""
        return self._output.last()

    # -- ProcessProtocol --------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Close the model's standard input."""
        self._group.leader = self.transport.pid
        self.transport.closeStdin()
        self._log.info("{model}: process {pid}", model=self._model.id, pid=self.pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Pass standard output and standard error to the logs."""
        self._output.write(childFD, data)

    def processExited(self, reason: Failure) -> None:
        """The leader has exited.  Its last output may not have been read yet."""
        if self._reported:
            return  # the child was given up, and there may be another process by now
        self._status = status_of(reason)
        self._tell_later = self._clock.callLater(OUTPUT_PATIENCE, self._tell)
        self._ending.leader_left()

    def processEnded(self, reason: Failure) -> None:
        """The leader has exited, and all output was read."""
        self._output.end()
        self._output_read = True
        self._tell()
        self._report_once_gone()

    # -- the end ----------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Report that the leader has ended, after which the model cannot be used; other processes may take longer."""
        call_off(self._tell_later)
        if not self._told and self._status is not None:
            self._told = True
            self._ended(self._status)

    def _everybody_left(self) -> None:
        self._nobody_left = True
        if not self._output_read:
            self._close_later = self._clock.callLater(OUTPUT_PATIENCE, self._close_output)
        self._report_once_gone()

    def _close_output(self) -> None:
        """An unknown process holds our pipes open: close them, which leads to `processEnded` if the leader is gone."""
        try:
            self._tell_who_holds_output()
        finally:  # the model must end even if that could not be reported
            self.transport.loseConnection()
            if self._status is None:
                self._output_read = True
                self._report_once_gone()

    def _tell_who_holds_output(self) -> None:
        pids = writers_to(reader.fileno() for fd, reader in self.transport.pipes.items() if fd != 0)
        self._log.warn(
            "{model} left a process behind that still holds its output, and goes on outside its group: pid {pids}",
            model=self._model.id,
            pids=", ".join(map(str, pids)) or "unknown",
        )

    def _report_once_gone(self) -> None:
        if self._nobody_left and self._output_read and not self._reported:
            self._reported = True
            call_off(self._close_later)
            self._tell()
            self._gone()
