"""Who has a port, by /proc."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.upstream import port_owner
from llama_swap.upstream.port_owner import who_listens


class PortOwnerTests(SynchronousTestCase):
    """`who_listens`."""

    def test_names_process(self) -> None:
        """Whoever listens there is told by number and name, at IPv4's addresses and at IPv6's."""
        name = Path("/proc/self/comm").read_text().strip()
        for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with socket.create_server((host, 0), family=family) as listening:
                self.assertEqual(who_listens(listening.getsockname()[1]), f"pid {os.getpid()} ({name})")

    def test_nobody(self) -> None:
        """Who has only connected, or only bound the port, does not listen there."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            self.assertEqual(who_listens(bound.getsockname()[1]), "")

    def test_no_means(self) -> None:
        """Where there are neither threads nor files to look with, nobody is named; the error that asked is not lost."""

        def no_files(directory: str) -> list[str]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), directory)

        def no_threads(*_: object) -> Deferred[str]:
            raise RuntimeError("can't start new thread")

        def at_once(reactor: Any, pool: Any, function: Callable[[int], str], port: int) -> Deferred[str]:
            return maybeDeferred(function, port)

        self.patch(os, "listdir", no_files)
        loop = Mock()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            for run in (no_threads, at_once):
                self.patch(port_owner, "deferToThreadPool", run)
                owner = port_owner.owner_of(loop, listening.getsockname()[1])
                self.assertEqual(self.successResultOf(owner), "")
