"""A machine that is played: processes, groups, pipes and ports, which behave as the dice say.

It stands in for the reactor's `spawnProcess`, for `ProcessGroup`, and for the network that probes go over.  All that
lies above runs as it is.
"""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock

from llama_swap.errors import NobodyListens, UpstreamError
from llama_swap.upstream import ending, process, stop_command
from llama_swap.upstream.guard import MARK
from tests.chaos.processes import STUCK, Process, Transport


@define(eq=False)
class System:
    """All processes, and the dice."""

    clock: Clock
    dice: random.Random
    wild: float = 1.0
    """How likely what goes wrong is, compared to the usual; 0: nothing does."""
    processes: dict[int, Process] = field(factory=dict)
    launched: Callable[[Process], None] = lambda server: None
    """Told of each server just before it is there."""
    signalled: Callable[[Process], None] = lambda server: None
    """Told of each server that is about to get a signal."""
    _strangers: dict[int, float] = field(factory=dict)
    """Ports that somebody else has, and until when."""
    _pids: int = 100

    def chance(self, probability: float) -> bool:
        """Whether something that goes wrong so often does so now."""
        return self.dice.random() < probability * self.wild

    # -- processes --------------------------------------------------------------------------------------------

    def spawnProcess(
        self,
        protocol: ProcessProtocol,
        executable: str,
        args: Sequence[str],
        env: Mapping[str, str],
        childFDs: Mapping[int, str | int],
    ) -> Transport:
        """Start `sh serve MODEL PORT` or `sh stop PID`."""
        if self.chance(0.03):
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self._pids += 1
        words = args[2:]
        is_server = words[0] == "serve"
        dice, now = self.dice, self.clock.seconds()
        started = Process(self._pids, self._pids, env[MARK] if is_server else "")
        transport = started.transport = Transport(self, started, protocol, started.pid)
        if is_server:
            started.model, started.port = words[1], int(words[2])
            self._throw(started)
            self.launched(started)
            self.processes[started.pid] = started
            for child in started.brood:
                self.processes[child.pid] = child
        else:
            self.processes[started.pid] = started
            self._throw_stop(started, int(words[1]))
        protocol.makeConnection(transport)
        if is_server and self.chance(0.05):  # what it prints may well be its last words
            protocol.childDataReceived(dice.choice((1, 2)), b"loading\n")
        assert self.clock.seconds() == now
        return transport

    def _throw(self, server: Process) -> None:
        dice, clock = self.dice, self.clock
        load = dice.choice((0.0, 0.05, 0.5, 2.0))
        server.listens_from = clock.seconds() + load * dice.random()
        server.healthy_from = clock.seconds() + (load if not self.chance(0.03) else 1e9)
        server.hangs_until = server.healthy_from * self.chance(0.05)
        server.leaves_after = None if self.chance(0.1) else dice.choice((0.0, 0.0, 0.3, 2.0))
        server.killable = STUCK if self.chance(0.01) else dice.choice((0.0, 0.01, 0.2))
        if self.chance(0.12):
            clock.callLater(
                dice.choice((0.0, load * dice.random(), load, load + 3 * dice.random())), self.crash, server
            )
        while self.chance(0.1):
            self._pids += 1
            child = Process(self._pids, dice.choice((server.group, self._pids)), server.mark * (dice.random() < 0.8))
            child.leaves_after = dice.choice((0.0, 0.5, None))
            child.killable = STUCK if self.chance(0.01) else 0.01
            child.holds_output = dice.random() < 0.5
            clock.callLater(dice.choice((1.0, 10.0, 100.0)), self.exit, child)
            child.parent = server
            server.brood.append(child)

    def _throw_stop(self, command: Process, victim: int) -> None:
        dice = self.dice
        takes = dice.choice((0.0, 0.1, 2.0, 60.0)) if self.wild else 0.1
        fails = self.chance(0.2)

        def end() -> None:
            if command.alive and not fails and victim in self.processes and not self.chance(0.2):
                self.exit(self.processes[victim])
            self.exit(command, code=int(fails))

        self.clock.callLater(takes, end)

    def crash(self, server: Process) -> None:
        """It ends by itself."""
        code, number = self.dice.choice(((0, None), (1, None), (137, None), (None, 9), (None, 11)))
        self.exit(server, code, number)

    def exit(self, ended: Process, code: int | None = 0, number: int | None = None) -> None:
        """End a process; its parent hears of it soon."""
        if not ended.alive:
            return
        ended.alive = False
        if ended.transport is not None:
            ended.transport.status = (code, number)
            self.clock.callLater(self.dice.choice((0.0, 0.0, 0.005, 0.1)), ended.transport.reap)
        else:
            del self.processes[ended.pid]
        if ended.parent is not None and ended.parent.transport is not None:
            self.clock.callLater(0, ended.parent.transport.look)
        if ended.port and self.chance(0.05):
            self._strangers[ended.port] = self.clock.seconds() + 4 * self.dice.random()  # as with container runtimes

    def signal(self, target: Process, number: int) -> None:
        """Send a signal to one process."""
        if target.model:
            self.signalled(target)
        target.signals.append(number)
        delay = target.killable if number == signal.SIGKILL else target.leaves_after
        if delay is not None:
            self.clock.callLater(delay, self.exit, target, None, number)

    def members(self, group: int) -> list[Process]:
        """Return the living of a group."""
        return [each for each in self.processes.values() if each.group == group and each.alive]

    def servers(self, model: str | None = None) -> list[Process]:
        """Return the living servers, of one model or of all."""
        return [each for each in self.processes.values() if each.model and each.alive and model in (None, each.model)]

    # -- network ----------------------------------------------------------------------------------------------

    def server_at(self, port: int) -> Process | None:
        """Return who of ours listens there."""
        now = self.clock.seconds()
        return next((each for each in self.servers() if each.port == port and each.listens_from <= now), None)

    def take(self, port: int, seconds: float) -> None:
        """Have somebody else listen at a port for some time, unless one of ours has it."""
        if not any(server.port == port for server in self.servers()):
            self._strangers[port] = self.clock.seconds() + seconds

    def endpoint(self, url: str) -> Connecting:
        """Be the `endpoint` of a `Prober`."""
        return Connecting(self, port_of(url))

    def get_status(self, url: str) -> Deferred[int]:
        """Be the `get_status` of a `Prober`."""
        answer: Deferred[int] = Deferred()
        if (server := self.server_at(port_of(url))) is None:
            answer.errback(UpstreamError("reset") if self.chance(0.02) else NobodyListens("nobody"))
        elif self.clock.seconds() >= server.hangs_until:
            answer.callback(200 if self.clock.seconds() >= server.healthy_from else 503)
        return answer

    @contextmanager
    def played(self) -> Iterator[None]:
        """Have the launcher find this machine instead of the real one."""
        system = self

        class Group(_Group):
            """Knows the machine."""

            def __init__(self, mark: bytes, leader: int = 0) -> None:
                super().__init__(system, mark.decode(), leader)

        def waitid(kind: int, pid: int, options: int) -> object:
            return None if system.processes[pid].alive else object()

        played_os = SimpleNamespace(**{name: getattr(os, name) for name in ("P_PID", "WEXITED", "WNOHANG", "WNOWAIT")})
        played_os.waitid = waitid
        with ExitStack() as stack:
            for room, name, double in (
                (process, "ProcessGroup", Group),
                (stop_command, "ProcessGroup", Group),
                (process, "os", played_os),
                (process, "writers_to", lambda pipes: []),
                (ending, "signal_all", self._signal_all),
            ):
                stack.enter_context(patch.object(room, name, double))
            yield

    def _signal_all(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            if pid in self.processes:
                self.signal(self.processes[pid], number)


def port_of(url: str) -> int:
    """Return the port of `http://127.0.0.1:PORT/…`."""
    return int(url.split(":")[2].partition("/")[0])


@define(eq=False)
class Connecting:
    """An endpoint."""

    system: System
    port: int

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect, or be refused, at once."""
        taken = self.system._strangers.get(self.port, 0) > self.system.clock.seconds()
        answer: Deferred[Any] = Deferred()
        if taken or self.system.server_at(self.port) is not None:
            protocol = factory.buildProtocol(None)
            answer.callback(protocol)
            protocol.makeConnection(SimpleNamespace(loseConnection=lambda: None))
        else:
            answer.errback(Refused())
        return answer


@define(eq=False)
class _Group:
    """See `ProcessGroup`."""

    system: System
    mark: str
    leader: int = 0
    leader_lives: bool = True

    def signal(self, number: int) -> bool:
        leader = self.system.processes.get(self.leader)
        is_there = leader is not None and leader.transport is not None and not leader.transport.reaped
        members = self.system.members(self.leader)
        if number:
            for each in members:
                self.system.signal(each, number)
        return bool(members) or is_there

    def runs(self) -> bool:
        return bool(self.system.members(self.leader))

    def strays(self, among: Collection[int] = ()) -> set[int]:
        marks = self.mark.partition("=")[2]
        living = {each.pid for each in self.system.processes.values() if each.alive and each.mark == marks}
        return living & set(among) or living
