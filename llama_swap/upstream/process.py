"""Models as processes of this machine, each the leader of a process group of its own.

A wrapper (`sh -c`, `nice`, a container client) may leave children behind.  So signals go to the whole group, and a
model counts as gone when nobody of its group runs: only then are its memory and its port free for the next.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.model import ModelConfig
from llama_swap.errors import StartFailed
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.upstream.guard import Guard
from llama_swap.upstream.launcher import ExitStatus

GROUP_POLL = 0.02
"""Pause between looks at a group whose leader has left: nobody reports the exit of other people's children."""
LEFTOVER_GRACE = 1.0
"""What the rest of a group has, once its leader has left unasked, between SIGTERM and SIGKILL."""
KILLED_PATIENCE = 1.0
"""After SIGKILL a process goes in a moment, unless the kernel itself is stuck with it; that is not waited for."""
OUTPUT_PATIENCE = 0.25
"""How long the pipes of a process that exited may stay open (somebody else holds them) before we stop reading."""
LAST_OUTPUT_LIMIT = 1024

OWN_VARIABLES = frozenset(
    {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"}
)
"""What the service manager told this process is not meant for models."""


class LocalLauncher:
    """A `Launcher` that runs `cmd` here, without a shell.

    `setsid` (util-linux) makes the process lead its own session and group, and is replaced by it: the pid stays.
    """

    def __init__(
        self,
        reactor: IReactorProcess,
        clock: IReactorTime,
        logs: Broadcaster,
        guard: Guard,
        environ: Mapping[str, str],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._logs = logs
        self._guard = guard
        self._environ = {name: value for name, value in environ.items() if name not in OWN_VARIABLES}

    def launch(self, model: ModelConfig, exited: Callable[[ExitStatus], None]) -> LocalChild:
        """See `Launcher.launch`."""
        environ = {**self._environ, **model.env, **self._guard.environ()}
        program = shutil.which(model.cmd[0], path=environ.get("PATH", os.defpath))
        if program is None:
            raise StartFailed(
                f"model {model.id} cannot start: no program {model.cmd[0]!r} to run (models.{model.id}.cmd). "
                "Install it, or write its full path"
            )

        def gone(status: ExitStatus) -> None:
            self._guard.forget(child.pid)
            exited(status)

        child = LocalChild(self._clock, model.id, self._logs, gone)
        try:
            self._reactor.spawnProcess(
                child,
                "setsid",
                ["setsid", program, *model.cmd[1:]],
                env=environ,
                childFDs={0: "w", 1: "r", 2: "r"},
            )
        except (OSError, ValueError) as error:  # the latter for what no system takes, such as a null byte
            raise StartFailed(f"model {model.id} cannot start: setsid {program}: {error}") from error
        self._guard.watch(child.pid)
        return child


class LocalChild(ProcessProtocol):
    """A `Child` that is a process group of this machine."""

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self, clock: IReactorTime, model: str, logs: Broadcaster, exited: Callable[[ExitStatus], None]
    ) -> None:
        self._clock = clock
        self._model = model
        self._exited = exited
        self._tail = b""
        self._speaker = 0  # the file that the end of the tail came from
        self._output = {1: logs.writer(model), 2: logs.writer(model)}
        self.pid = 0  # known once it is spawned
        self._kill_later: IDelayedCall | None = None
        self._give_up_later: IDelayedCall | None = None
        self._others: set[int] = set()
        self._gone_at_last = math.inf
        self._status: ExitStatus | None = None
        self._group_gone = False
        self._output_read = False

    # -- Child ------------------------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """See `Child.stop`."""
        if self._kill_later is None:
            self._kill_later = self._clock.callLater(grace, self.kill)
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Child.kill`."""
        if self._group_gone:
            return
        self._log.warn("{model} did not leave when asked: killed", model=self._model)
        self._gone_at_last = self._clock.seconds() + KILLED_PATIENCE
        self._signal(signal.SIGKILL)

    def alive(self) -> bool:
        """See `Child.alive`."""
        if self._status is not None:
            return False
        # WNOWAIT leaves the exit to be collected by the reactor.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def last_output(self) -> str:
        """See `Child.last_output`."""
        whole_lines = self._tail.partition(b"\n")[2] if len(self._tail) == LAST_OUTPUT_LIMIT else b""
        return (whole_lines or self._tail).decode(errors="replace").strip()

    # -- ProcessProtocol --------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Nobody types to a model."""
        assert self.transport is not None
        assert self.transport.pid is not None
        self.pid = self.transport.pid
        self.transport.closeStdin()
        self._log.info("{model}: process {pid}", model=self._model, pid=self.pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Standard output and standard error go to the logs, each in lines of its own."""
        self._output[childFD].write(data)
        seam = b"" if childFD == self._speaker or self._tail.endswith(b"\n") else b"\n"
        self._tail = (self._tail + seam + data[-LAST_OUTPUT_LIMIT:])[-LAST_OUTPUT_LIMIT:]
        self._speaker = childFD

    def processExited(self, reason: Failure) -> None:
        """The leader is gone.  The rest of its group has the time it was given, or a little if nobody had asked."""
        self._status = _status_of(reason)
        self.stop(LEFTOVER_GRACE)
        self._await_group()

    def processEnded(self, reason: Failure) -> None:
        """The leader is gone, and all output was read."""
        for writer in self._output.values():
            writer.end()
        self._output_read = True
        _call_off(self._give_up_later)
        self._report_once_gone()

    # -- the end ----------------------------------------------------------------------------------------------

    def _await_group(self) -> None:
        """Look until nobody of the group runs, or it was killed and can do no more."""
        if self._others_run() and self._clock.seconds() < self._gone_at_last:
            self._clock.callLater(GROUP_POLL, self._await_group)
            return
        _call_off(self._kill_later)
        self._group_gone = True
        if not self._output_read:
            self._give_up_later = self._clock.callLater(OUTPUT_PATIENCE, self._give_up_output)
        self._report_once_gone()

    def _others_run(self) -> bool:
        """Whether somebody of the group runs whose leader has left.

        The dead do not count: where process 1 waits for nobody, as in many containers, they are there for ever.
        """
        if not self._signal(0):
            return False
        self._others = {pid for pid in self._others if _runs_in(self.pid, pid)} or _members(self.pid)
        return bool(self._others)

    def _report_once_gone(self) -> None:
        if self._group_gone and self._output_read:
            assert self._status is not None, "a process that has ended has a status"
            self._exited(self._status)

    def _give_up_output(self) -> None:
        """Somebody outside the group holds our pipes: close our end, which ends in `processEnded`."""
        transport: Any = self.transport
        pids = _writers_to(reader.fileno() for fd, reader in transport.pipes.items() if fd in self._output)
        self._log.warn(
            "{model} left a process behind that still holds its output, and goes on outside its group: pid {pids}",
            model=self._model,
            pids=", ".join(map(str, pids)) or "unknown",
        )
        transport.loseConnection()

    def _signal(self, number: int) -> bool:
        """Send a signal to the group, and return whether there is one.  0 only asks."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            if self._status is not None:
                return False
            os.kill(self.pid, number)  # it has not come to lead a group yet
        except PermissionError:
            pass  # it runs as somebody else by now
        return True


def _members(group: int) -> set[int]:
    """Return the processes of `group` that run."""
    pids = {int(path.name) for path in Path("/proc").glob("[0-9]*")}
    return {pid for pid in pids if _runs_in(group, pid)}


def _runs_in(group: int, pid: int) -> bool:
    """Ask /proc/PID/stat: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html ."""
    try:
        state, _, its_group = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:3]
    except OSError:
        return False  # it has just gone
    return state not in b"ZX" and int(its_group) == group


def _writers_to(pipes: Iterable[int]) -> list[int]:
    """Return the processes whose standard output or error goes into one of our `pipes`, by /proc/PID/fd."""
    names = {f"pipe:[{os.fstat(pipe).st_ino}]" for pipe in pipes}
    found = set()
    for link in (*Path("/proc").glob("[0-9]*/fd/1"), *Path("/proc").glob("[0-9]*/fd/2")):
        try:
            if str(link.readlink()) in names:
                found.add(int(link.parts[2]))
        except OSError:
            continue  # it has just gone, or is none of our business
    return sorted(found)


def _call_off(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def _status_of(reason: Failure) -> ExitStatus:
    if isinstance(reason.value, ProcessTerminated):
        return ExitStatus(code=reason.value.exitCode, signal=reason.value.signal)
    return ExitStatus(code=0)
