"""The processes of one model, as the kernel knows them.

A wrapper (`sh -c`, `nice`, a container client) may leave children behind, so signals go to a whole process group.
Processes that left the group, for a session of their own or a container, are found by a mark in their environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from attrs import define, field


@define(eq=False)
class ProcessGroup:
    """The group that `leader` leads, or is about to lead, and the strays: processes with `mark` outside of it."""

    mark: bytes
    """`NAME=value`, as in their environment."""
    leader: int = 0
    """Its pid; known once it is spawned."""
    leader_lives: bool = True
    """Must be set to False once its exit was collected: its pid may then be reused."""
    _known: set[int] = field(factory=set)

    def signal(self, number: int) -> bool:
        """Send a signal to the group, and return whether the group exists.  0 only asks that."""
        try:
            os.killpg(self.leader, number)
        except ProcessLookupError:
            if not self.leader_lives:
                return False
            os.kill(self.leader, number)  # it does not lead its group yet
        except PermissionError:
            pass  # it runs as another user by now
        return True

    def runs(self) -> bool:
        """Whether any process of the group runs, once its leader has exited.

        Zombies do not count: where process 1 collects none, as in many containers, they stay for ever.

        @raise OSError: that cannot be known now.
        """
        if not self.signal(0):
            return False
        self._known = {pid for pid in self._known if _runs_in(self.leader, pid)} or {
            pid for pid in _all_pids() if _runs_in(self.leader, pid)
        }
        return bool(self._known)

    def strays(self, among: Iterable[int] = ()) -> set[int]:
        """Return the processes with the mark: those in `among` if there are any, else all others.

        To be called when the group is gone: until then its members are found as well.

        @raise OSError: that cannot be known now.
        """
        return {pid for pid in among if self._is_marked(pid)} or {
            pid for pid in _pids_after(self.leader) if self._is_marked(pid)
        }

    def _is_marked(self, pid: int) -> bool:
        return self.mark in _read(pid, "environ").split(b"\0")


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each of `pids` that still exists and that we may signal."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def writers_to(pipes: Iterable[int]) -> list[int]:
    """Return the processes whose standard output or error goes into one of our `pipes`, by /proc/PID/fd."""
    return holders_of({f"pipe:[{os.fstat(pipe).st_ino}]" for pipe in pipes}, (1, 2))


def holders_of(files: Collection[str], descriptors: Collection[int] = ()) -> list[int]:
    """Return the processes that have one of `files` open, as links in /proc/PID/fd name them.

    Looking at a few `descriptors` only, instead of at all of each process, is fast enough for the reactor's thread.
    """
    return [pid for pid in _all_pids() if any(file in files for file in _opened_by(pid, descriptors))]


def _opened_by(pid: int, descriptors: Collection[int]) -> Iterator[str]:
    """Yield what a process has open; nothing if it has gone, or if we may not look."""
    with suppress(OSError):
        for descriptor in descriptors or os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 -- as below
            with suppress(OSError):  # just closed
                yield os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115 -- as below


def _all_pids() -> Iterable[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 -- as below


def _pids_after(pid: int) -> Iterable[int]:
    """Return the processes that may have started after `pid`: a few of all there are.

    Pids are given in turn, and the last one is in /proc/loadavg; if it is lower than `pid`, they have wrapped around.
    With systemd's `ProcSubset=pid` there is no such file.
    """
    try:
        last = int(Path("/proc/loadavg").read_bytes().split()[-1])
    except FileNotFoundError:
        return _all_pids()
    return _all_pids() if last < pid else [later for later in _all_pids() if later > pid]


def _runs_in(group: int, pid: int) -> bool:
    """Ask /proc/PID/stat: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html ."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(fields) and fields[0] not in b"ZX" and int(fields[2]) == group


def _read(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID; empty if the process has gone, or if we may not look."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 -- a Path costs more than reading
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
