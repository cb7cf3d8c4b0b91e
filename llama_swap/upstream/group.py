"""The processes of one model, as the kernel knows them.

A wrapper (`sh -c`, `nice`, a container client) may leave children behind, so signals go to a whole process group.
Whoever left the group, for a session of its own or by way of a container, is known by a mark in its environment.
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
    """The group that `leader` leads, or is about to lead, and the strays that carry `mark` outside of it."""

    mark: bytes
    """`NAME=value`, as it stands in their environment."""
    leader: int = 0
    """Its pid; known once it is spawned."""
    leader_lives: bool = True
    """To be set to False once its exit was collected: its number may then be somebody else's."""
    _known: set[int] = field(factory=set)

    def signal(self, number: int) -> bool:
        """Send a signal to the group, and return whether there is one.  0 only asks."""
        try:
            os.killpg(self.leader, number)
        except ProcessLookupError:
            if not self.leader_lives:
                return False
            os.kill(self.leader, number)  # it has not come to lead a group yet
        except PermissionError:
            pass  # it runs as somebody else by now
        return True

    def runs(self) -> bool:
        """Whether somebody of the group runs, whose leader has left.

        The dead do not count: where process 1 waits for nobody, as in many containers, they are there for ever.

        @raise OSError: that is not to be known now.
        """
        if not self.signal(0):
            return False
        self._known = {pid for pid in self._known if _runs_in(self.leader, pid)} or {
            pid for pid in _all_pids() if _runs_in(self.leader, pid)
        }
        return bool(self._known)

    def strays(self, among: Iterable[int] = ()) -> set[int]:
        """Return who carries the mark, of `among` if any of those does, else of all that can be.

        Asked when the group is gone: until then its members are found as well.

        @raise OSError: that is not to be known now.
        """
        return {pid for pid in among if self._is_marked(pid)} or {
            pid for pid in _pids_after(self.leader) if self._is_marked(pid)
        }

    def _is_marked(self, pid: int) -> bool:
        return self.mark in _read(pid, "environ").split(b"\0")


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each of `pids` that is still there and is ours to signal."""
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

    To look at a few `descriptors` only, instead of at all of each process, is quick enough for the reactor's thread.
    """
    return [pid for pid in _all_pids() if any(file in files for file in _opened_by(pid, descriptors))]


def _opened_by(pid: int, descriptors: Collection[int]) -> Iterator[str]:
    """Yield what a process has open; nothing more once it has gone, or if it is none of our business."""
    with suppress(OSError):
        for descriptor in descriptors or os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 -- as below
            with suppress(OSError):  # just closed
                yield os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115 -- as below


def _all_pids() -> Iterable[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 -- as below


def _pids_after(pid: int) -> Iterable[int]:
    """Return the processes that may have started after `pid`, which are few where there are many.

    Numbers are given in turn, and the last one stands in /proc/loadavg; if that is lower, they have begun anew.
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
    """Return a file of /proc/PID; nothing where the process has just gone, or is none of our business."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 -- a Path costs more than to read
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
