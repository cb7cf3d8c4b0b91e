"""Tells systemd what the proxy is doing: https://www.freedesktop.org/software/systemd/man/sd_notify.html ."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Send `state`, such as `READY=1`, to the service manager, if there is one that listens."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    # That the manager does not listen, or is too busy, must not keep the proxy from starting or stopping.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
        manager.sendto(state.encode(), address)
