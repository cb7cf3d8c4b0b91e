"""Which hosts are this machine: one table, whose columns differ on purpose."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.net.loopback import USUAL, is_loopback_address, is_loopback_to_browsers, leads_to_this_machine

# Who listens there is heard by this machine alone; who asks there meets this machine; a browser says this of us.
HOSTS = {
    "127.0.0.1": (True, True, True),
    "127.255.0.1": (True, True, True),
    "::1": (True, True, False),  # browsers write brackets
    "[::1]": (False, False, True),
    "localhost": (False, True, True),  # a name, for the system or the browser to look up
    "a.localhost": (False, False, True),  # the system may know it as another machine; browsers do not ask
    "a.b.localhost": (False, False, True),
    "0.0.0.0": (False, True, False),  # whoever listens there is heard by all
    "::": (False, True, False),
    "[::]": (False, False, False),
}
DOUBTFUL = (
    "",
    "localhost.",  # whoever asks has taken the dot away, see `syntax.host_named`
    ".localhost",
    "xlocalhost",
    "localhost.evil.test",
    "127",
    "127.1",
    "127.0.0.1.",
    "127.0.0.1.evil.test",
    "127.foo",
    "127.0.0.x",
    "127.0.0.1\n",
    "127.0.0.\u0661",
    "2130706433",
    "0x7f.0.0.1",
    "::ffff:127.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0:0:0:0:0:0:0:1",
    "::1%lo",
    "192.168.1.2",
)


class LoopbackTests(SynchronousTestCase):
    """All three questions."""

    def answers(self, host: str) -> tuple[bool, bool, bool]:
        """Return what each says of a host."""
        return is_loopback_address(host), leads_to_this_machine(host), is_loopback_to_browsers(host)

    def test_hosts(self) -> None:
        """What is this machine to one, need not be to another."""
        self.assertEqual({host: self.answers(host) for host in HOSTS}, HOSTS)

    def test_doubtful(self) -> None:
        """What only looks like this machine is another one to everybody."""
        for host in DOUBTFUL:
            self.assertEqual(self.answers(host), (False, False, False), host)

    def test_usual(self) -> None:
        """The usual ways to write its address all lead here."""
        self.assertTrue(all(map(leads_to_this_machine, USUAL)))
