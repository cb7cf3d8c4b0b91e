"""Tells which program listens on a port of this machine, for error messages.

It is a hint: for other users' programs the kernel tells only root, and a container's port belongs to its forwarder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from llama_swap.upstream.group import holders_of

_LISTENS = "0A"
"""TCP_LISTEN in /proc/net/tcp: https://docs.kernel.org/networking/proc_net_tcp.html ."""


def owner_of(reactor: Any, port: int) -> Deferred[str]:
    """Do what `who_listens` does, in a thread: there may be many processes.  Without means to look, nobody is named."""
    owner = maybeDeferred(deferToThreadPool, reactor, reactor.getThreadPool(), who_listens, port)
    return owner.addErrback(_cannot_look)


def _cannot_look(failure: Failure) -> str:
    failure.trap(OSError, RuntimeError)  # no file descriptor is left; no thread can be started
    return ""


def who_listens(port: int) -> str:
    """Return who listens on TCP `port`, as `pid 4711 (ollama)`; empty if that cannot be known."""
    sockets = {f"socket:[{inode}]" for inode in _listening_at(port)}
    return ", ".join(f"pid {pid} ({_name_of(pid)})" for pid in (holders_of(sockets) if sockets else ()))


def _listening_at(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on `port`, at any address."""
    for table in ("tcp", "tcp6"):
        try:
            _, *rows = Path("/proc/net", table).read_text().splitlines()
        except OSError:  # no IPv6, or no Linux
            continue
        for row in rows:
            _, local, _, state, _, _, _, _, _, inode, *_ = row.split()
            if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone by now"
