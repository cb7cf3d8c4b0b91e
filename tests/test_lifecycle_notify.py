"""What the service manager is told, with a socket in its place."""

from __future__ import annotations

import os
import socket
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.lifecycle.notify import notify
from tests.support_processes import open_files


class NotifyTests(SynchronousTestCase):
    """`notify`."""

    def listen(self, address: str) -> socket.socket:
        """Be the service manager at this address."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(manager.close)
        manager.bind(address)
        return manager

    def test_path(self) -> None:
        """The state goes to the socket that the environment names."""
        path = self.mktemp()
        manager = self.listen(path)
        notify("READY=1", {"NOTIFY_SOCKET": path})
        self.assertEqual(manager.recv(100), b"READY=1")

    def test_abstract(self) -> None:
        """An address that begins with @ is one of Linux's abstract ones."""
        name = f"llama-swap-test-{os.getpid()}"
        manager = self.listen(f"\0{name}")
        notify("STOPPING=1", {"NOTIFY_SOCKET": f"@{name}"})
        self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_nobody_wants_to_know(self) -> None:
        """Without a service manager nothing is sent."""
        made = Mock()
        self.patch(socket, "socket", made)
        for environ in ({}, {"NOTIFY_SOCKET": ""}):
            notify("READY=1", environ)
        made.assert_not_called()

    def test_nobody_listens(self) -> None:
        """A socket that is not there, or not to be had, is nobody's trouble; none of ours is left open."""
        before = open_files(os.getpid())
        for address in ("/no/such/socket", "@no-such-socket", "/tmp", "x" * 200):
            notify("STOPPING=1", {"NOTIFY_SOCKET": address})
        self.assertEqual(open_files(os.getpid()), before)

    def test_does_not_wait(self) -> None:
        """A manager that does not read what it is told is not waited for."""
        path = self.mktemp()
        manager = self.listen(path)
        for _ in range(2000):
            notify("READY=1", {"NOTIFY_SOCKET": path})
        self.assertEqual(manager.recv(100), b"READY=1")
