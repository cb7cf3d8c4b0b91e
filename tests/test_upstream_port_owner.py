"""Who has a port, by /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

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
