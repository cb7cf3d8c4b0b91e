"""Notices that the machine at the other end of a connection has vanished: it sleeps, or no way leads there any more.

Nothing comes from it then, not even an end, so that a request would hold its model for ever.  The system asks those
from whom nothing comes whether they are still there, if it is told to (RFC 9293 §3.8.4).  It does not ask while bytes
are on their way to them: these it sends again, for a quarter of an hour, before it gives up.  `TCP_USER_TIMEOUT` would
shorten that, but for those as well who are there and read nothing, which they may for longer.  So we look ourselves,
at what the system knows of each connection.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.internet.tcp import Connection
from twisted.logger import Logger

SILENCE = 30
"""Seconds without a sign of the other end until it is asked for one."""
AGAIN = 15
"""Seconds until it is asked again."""
QUESTIONS = 6
"""Whoever answers none of so many is gone: two minutes after the last sign."""
LONGEST = 32767
"""Seconds that Linux takes for `SILENCE`, at most."""

LOOK_EVERY = 30.0
"""Seconds."""
AT_ONCE = 2000
"""Connections; they take 4 ms."""
UNANSWERED = 3
"""So often must bytes have been sent again, in vain, for a connection whose other end may be gone."""
GONE_AFTER = 90.0
"""Seconds without a sign after which it is; with `LOOK_EVERY`, two minutes at most."""

_INFO = struct.Struct("=2xBB52xI")
"""Of `struct tcp_info`, in linux/tcp.h: how often bytes, and how often questions, were sent again since the last sign;
then, how long ago that was, in milliseconds."""


def ask_when_silent(sock: socket.socket, after: float = 0.0) -> None:
    """Have the system ask for a sign of the other end after so many seconds without any; 0: after the usual time.

    A socket that listens hands this on to all that it accepts.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(max(1, round(after or SILENCE)), LONGEST))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, AGAIN)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, QUESTIONS)


class Vanished(Service):
    """Ends the connections to machines that have vanished while bytes were on their way to them."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._looking.start(LOOK_EVERY, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        # Not among them is who is paused, and so cannot be heard: these the stall timeout ends (see web.channel).
        try:
            self._look_at(self._reactor.getReaders())
        except Exception:  # noqa: BLE001 -- a defect: it must not end the watch
            self._log.failure("cannot look for connections whose other end has vanished")

    def _look_at(self, readers: Sequence[object]) -> None:
        for each in readers[:AT_ONCE]:
            if isinstance(each, Connection) and each.connected and _is_gone(each.socket):
                each.abortConnection()
        if len(readers) > AT_ONCE:
            self._reactor.callLater(0, self._look_at, readers[AT_ONCE:])


def _is_gone(sock: socket.socket) -> bool:
    try:
        resent, asked, since = _INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    except (OSError, struct.error):  # a UNIX socket: this machine is there; or a system that tells less
        return False
    return max(resent, asked) >= UNANSWERED and since >= GONE_AFTER * 1000
