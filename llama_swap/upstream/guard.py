"""Ends the models when the proxy cannot do so itself, because it was killed.

The guard is a small shell that waits at the end of a pipe.  When the proxy is gone, for whatever reason, the kernel
closes the pipe, and the guard kills what is left: the process groups it was told of, and all processes with the mark of
this proxy in their environment, which finds children that made a session of their own.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

MARK = "LLAMA_SWAP_PROXY"
"""The environment variable that marks the children of a proxy."""

_SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r change group; do
    case $change in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do
    # Launched a moment ago, it may have neither a group yet nor, in the midst of exec, an environment to be seen.
    kill -KILL "-$group" || { sleep 0.1; kill -KILL "-$group"; }
done
for round in 1 2 3; do
    marked=$(grep -lsa "$1" /proc/[0-9]*/environ)
    [ "$marked" ] || break
    for file in $marked; do
        process=${file#/proc/}
        kill -KILL "${process%/environ}"
    done
done
"""


class Guard(ProcessProtocol):
    """Runs the guard from the first model on.  If it is killed, the next model starts it again."""

    _log: ClassVar[Logger] = Logger()
    transport: Any

    def __init__(self, reactor: IReactorProcess) -> None:
        self._reactor = reactor
        self._mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        self._numbers = count(1)
        self._groups: set[int] = set()
        self._ended: Deferred[None] | None = None

    def mark(self) -> str:
        """Return the value of `MARK` for the environment of the model that is launched next, different for each.

        By it, the guard and whoever stops the model find the model's children.

        @raise OSError: there is no guard, and none can be started.
        """
        if self._ended is None:
            self._start()
        return f"{self._mark}.{next(self._numbers)}"

    def watch(self, group: int) -> None:
        """Kill `group`, which was launched with the latest mark, if the proxy dies."""
        self._groups.add(group)
        self.transport.write(b"+ %d\n" % group)

    def forget(self, group: int) -> None:
        """`group` is gone, and its number may be reused."""
        self._groups.remove(group)
        self.transport.write(b"- %d\n" % group)

    def stop(self) -> Deferred[None]:
        """End the guard; fires when it has exited.  What it still watches is killed."""
        if self._ended is None:
            return succeed(None)
        self.transport.closeStdin()
        return self._ended

    def processEnded(self, reason: Failure) -> None:
        """The guard has exited, asked or not."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    def _start(self) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            # The mark is in its arguments, not in its environment: it must not find itself.
            self._reactor.spawnProcess(
                self,
                "setsid",
                ["setsid", "sh", "-c", _SCRIPT, "llama-swap-guard", f"{MARK}={self._mark}."],
                env={"PATH": os.environ.get("PATH", os.defpath)},
                childFDs={0: "w", 1: nowhere, 2: nowhere},
            )
        finally:
            os.close(nowhere)
        self._ended = Deferred()
        for group in self._groups:
            self.transport.write(b"+ %d\n" % group)
