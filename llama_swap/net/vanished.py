"""Notices that the machine at the other end of a connection has vanished: asleep, switched off or unreachable.

Nothing comes from it then, not even a FIN, so that a request would hold its model for ever.  TCP keepalive (RFC 9293
§3.8.4) notices that on a silent connection.  But while sent bytes are not acknowledged, the kernel does not send
keepalives; it retransmits, and gives up only after a quarter of an hour.  `TCP_USER_TIMEOUT` would shorten that, but
also for clients that are there and just do not read, which they may do for longer.  So we look at what the kernel knows
of each connection.
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
"""Seconds without a packet from the other end until the first keepalive probe."""
AGAIN = 15
"""Seconds between keepalive probes."""
QUESTIONS = 6
"""Unanswered probes until the connection ends: two minutes after the last packet."""
LONGEST = 32767
"""The most seconds that Linux takes for `SILENCE`."""

LOOK_EVERY = 30.0
"""Seconds between two looks at all connections."""
AT_ONCE = 2000
"""Connections in one turn of the reactor; they take 4 ms."""
UNANSWERED = 3
"""Retransmissions or probes without an answer from which on the other end may be gone."""
GONE_AFTER = 90.0
"""Seconds without an acknowledgement after which it is; with `LOOK_EVERY`, two minutes at most."""

_INFO = struct.Struct("=2xBB52xI")
"""`tcpi_retransmits`, `tcpi_probes` and `tcpi_last_ack_recv` (milliseconds) in `struct tcp_info` (linux/tcp.h)."""


def ask_when_silent(sock: socket.socket, after: float = 0.0) -> None:
    """Turn TCP keepalive on, with the first probe after so many seconds of silence; 0: after `SILENCE`.

    A listening socket passes this on to all connections that it accepts.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(max(1, round(after or SILENCE)), LONGEST))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, AGAIN)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, QUESTIONS)


class Vanished(Service):
    """Ends the connections to machines that vanished while sent bytes were not yet acknowledged."""

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
        # Paused connections are not among the readers; the stall timeout ends those (see server.channel).
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
    except (OSError, struct.error):  # a UNIX socket, which leads to this machine; or a system that tells less
        return False
    return max(resent, asked) >= UNANSWERED and since >= GONE_AFTER * 1000
