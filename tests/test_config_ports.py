"""Ports and base URLs, on their own."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.ports import address_of, assign_ports, base_url, port_of


class AssignTests(SynchronousTestCase):
    """Who gets which port."""

    def test_sorted_and_free(self) -> None:
        """Ports go up in the order of the names, past those that are taken."""
        self.assertEqual(assign_ports(["b", "a", "c"], 5, {6}, {}), {"a": 5, "b": 7, "c": 8})

    def test_kept(self) -> None:
        """Who had a port keeps it, unless somebody else must have it; nobody gets the port that another one had."""
        kept = {"a": 9, "b": 5, "gone": 6}
        self.assertEqual(assign_ports(["new", "b", "a"], 5, set(), kept), {"a": 9, "b": 5, "new": 7})
        self.assertEqual(assign_ports(["a", "b"], 5, {9}, kept), {"a": 7, "b": 5})

    def test_no_more_ports(self) -> None:
        """The last names get none when ports run out."""
        self.assertEqual(assign_ports(["a", "b", "c"], 65534, {65535}, {}), {"a": 65534})


class URLTests(SynchronousTestCase):
    """What a URL says."""

    def test_parts(self) -> None:
        """The port, where there is one."""
        self.assertEqual((port_of("http://a:8"), port_of("http://a")), (8, None))
        self.assertIsNone(port_of("http://a:${PORT}"))

    def test_taken_apart_once(self) -> None:
        """What a reload asks of a thousand models is known from before: it takes half the time without."""
        url = "http://localhost:8123/of-this-test"
        self.assertIs(address_of(url), address_of(url))
        self.assertEqual(address_of(url), ("127.0.0.1", 8123))

    def test_trailing_slashes(self) -> None:
        """A base URL ends without a slash, so that paths can be added."""
        self.assertEqual(base_url("http://a/b//"), "http://a/b")

    def test_hosts_for_tls(self) -> None:
        """A host that TLS cannot name is refused for https only; addresses and other names are not."""
        for host in ("my_gpu.example", "a..b", "a" * 64, "a-.example", "-a"):
            self.assertEqual(base_url(f"http://{host}:1"), f"http://{host}:1")
            with self.assertRaises(ValueError) as refused:
                base_url(f"https://{host}:1/x")
            self.assertIn("write a name of letters, digits, dots and hyphens", str(refused.exception))
        for host in ("gpu", "My-GPU.example.", "127.0.0.1", "[::1]", "[fe80::1%25eth0]"):
            self.assertEqual(base_url(f"https://{host}:1/x"), f"https://{host}:1/x")
