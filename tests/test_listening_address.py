"""Addresses: what users write, what Twisted gets, what users are told."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import CannotListen
from llama_swap.listening.address import (
    BACKLOG,
    DEFAULT_ADDRESS,
    Address,
    anchored,
    endpoint_description,
    is_loopback,
    is_wide,
    told,
    try_to_listen,
    will_be_wide,
)
from tests.support_tls import make_certificates


class AnchoredTests(SynchronousTestCase):
    """`anchored`."""

    def test_files(self) -> None:
        """Relative paths become those from a directory on, whatever its name; all else stays as it is."""
        for text, found in (
            ("unix:swap.sock", "unix:/a\\:b/swap.sock"),
            ("unix:mode=660:address=run/x", "unix:mode=660:address=/a\\:b/run/x"),
            ("ssl:1:certKey=c\\:d.pem:privateKey=/k", "ssl:1:certKey=/a\\:b/c\\:d.pem:privateKey=/k"),
        ):
            self.assertEqual(anchored(text, Path("/a:b")), found)
        for text in ("127.0.0.1:80", ":80", "unix:/x", "unix:address=/x", "systemd:index=0", "ssl:1"):
            self.assertEqual(anchored(text, Path("/a:b")), text)

    def test_understood(self) -> None:
        """Twisted, and we, read the path that was meant, whatever stands in the directory's name."""
        base = Path(self.mktemp() + r" a=b:c\d:mode=1").absolute()
        base.mkdir()
        for text in ("unix:swap.sock", "unix:address=swap.sock", "unix:swap.sock:mode=660"):
            endpoint: Any = serverFromString(reactor, endpoint_description(anchored(text, base)))
            self.assertEqual(endpoint._address, f"{base}/swap.sock")
            self.assertEqual(endpoint._mode, 0o660 if "mode" in text else 0o600)
        files = make_certificates(base)
        names = [Path(path).name for path in (files.certificate, files.key)]
        address = Address(anchored("ssl:1:certKey={}:privateKey={}".format(*names), base))
        self.assertEqual(address.files, (files.certificate, files.key))
        address.endpoint(reactor)


class DescriptionTests(SynchronousTestCase):
    """`endpoint_description`."""

    def endpoint(self, text: str) -> Any:
        """Return what Twisted makes of it."""
        return serverFromString(reactor, endpoint_description(text))

    def test_host_and_port(self) -> None:
        """HOST:PORT is one interface, of the family of the host; `localhost` is the IPv4 one."""
        for text, kind, host, port in [
            ("127.0.0.1:8080", TCP4ServerEndpoint, "127.0.0.1", 8080),
            ("localhost:0", TCP4ServerEndpoint, "127.0.0.1", 0),
            ("0.0.0.0:80", TCP4ServerEndpoint, "0.0.0.0", 80),
            ("[::1]:8080", TCP6ServerEndpoint, "::1", 8080),
            ("gpu.example:65535", TCP4ServerEndpoint, "gpu.example", 65535),
        ]:
            endpoint = self.endpoint(text)
            self.assertIsInstance(endpoint, kind)
            self.assertEqual((endpoint._interface, endpoint._port, endpoint._backlog), (host, port, BACKLOG))

    def test_every_interface(self) -> None:
        """:PORT is every interface, of both families where there are two."""
        self.patch(socket, "has_dualstack_ipv6", lambda: True)
        self.assertEqual(self.endpoint(":8080")._interface, "::")
        self.patch(socket, "has_dualstack_ipv6", lambda: False)
        endpoint = self.endpoint(":8080")
        self.assertIsInstance(endpoint, TCP4ServerEndpoint)
        self.assertEqual(endpoint._interface, "0.0.0.0")

    def test_endpoint_strings(self) -> None:
        """What is written for Twisted is left to Twisted, also where it looks like a host and a port."""
        for text in ("unix:/run/x.sock:mode=660", "tcp:8080", "tcp6:8080", "tcp:8080:interface=127.0.0.1"):
            self.assertEqual(endpoint_description(text), text)
            self.assertTrue(IStreamServerEndpoint.providedBy(self.endpoint(text)))

    def test_socket_mode(self) -> None:
        """A socket in the file system is for its owner, unless the string says otherwise."""
        self.assertEqual(self.endpoint("unix:/run/x.sock")._mode, 0o600)
        self.assertEqual(self.endpoint("unix:/run/x.sock:lockfile=0")._mode, 0o600)
        self.assertEqual(self.endpoint("unix:/run/x.sock:mode=660")._mode, 0o660)

    def test_neither(self) -> None:
        """A text without a colon is neither; the error says what to write."""
        for text in ("", "8080", "localhost"):
            error = str(self.assertRaises(CannotListen, endpoint_description, text))
            self.assertIn(repr(text), error)
            self.assertIn("HOST:PORT", error)

    def test_ports_end(self) -> None:
        """A port above 65535 is an error that says so."""
        self.assertIn("65535", str(self.assertRaises(CannotListen, endpoint_description, "127.0.0.1:65536")))

    def test_default(self) -> None:
        """By default nobody but this machine is listened to."""
        self.assertEqual(self.endpoint(DEFAULT_ADDRESS)._interface, "127.0.0.1")


class CheckTests(SynchronousTestCase):
    """`check`: whether a socket can be had, in time to tell."""

    def refusal(self, text: str) -> str:
        """Return the error for an address that cannot be had."""
        return str(self.assertRaises(CannotListen, try_to_listen, text))

    def test_free(self) -> None:
        """A free address is no error, and is free afterwards."""
        try_to_listen("127.0.0.1:0")
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        try_to_listen(f"127.0.0.1:{port}")
        try_to_listen(f"127.0.0.1:{port}")

    def test_taken(self) -> None:
        """An address that another program has is told so, with a guess at who that is."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            error = self.refusal(f"127.0.0.1:{server.getsockname()[1]}")
        self.assertIn("another program has it, perhaps another llama-swap", error)

    def test_not_ours(self) -> None:
        """An address of another machine is told as such."""
        error = self.refusal("192.0.2.1:8080")
        self.assertIn("cannot listen on 192.0.2.1:8080: ", error)
        self.assertIn("; this machine does not have that address", error)
        self.assertNotIn("another", error)

    def test_malformed(self) -> None:
        """What cannot be an address is told here, too."""
        self.assertIn("HOST:PORT", self.refusal("8080"))
        self.assertIn("65535", self.refusal(":99999"))

    def test_endpoint_strings(self) -> None:
        """Twisted's own strings are not tried."""
        try_to_listen("unix:/no/such/directory/socket")


class TellingTests(SynchronousTestCase):
    """What users are told of an address."""

    def test_wide(self) -> None:
        """Every address but loopback ones is open to other machines; a socket in the file system is neither."""
        for host in ("0.0.0.0", "192.168.1.2"):
            self.assertTrue(is_wide(IPv4Address("TCP", host, 80)), host)
        for host in ("::", "fe80::1%eth0", "::ffff:127.0.0.1"):
            self.assertTrue(is_wide(IPv6Address("TCP", host, 80)), host)
        for address in (IPv4Address("TCP", "127.1.2.3", 80), IPv6Address("TCP", "::1", 80)):
            self.assertTrue(is_loopback(address), address)
            self.assertFalse(is_wide(address), address)
        unix = UNIXAddress("/run/socket")
        self.assertEqual((is_wide(unix), is_loopback(unix)), (False, False))

    def test_will_be_wide(self) -> None:
        """The same is known beforehand, of every form of an address that says it."""
        for text in (
            ":8080",
            "0.0.0.0:80",
            "[::]:80",
            "gpu.example:80",
            "127.foo:80",
            "tcp:80",
            "tcp6:80",
            "haproxy:tcp:80",
        ):
            self.assertTrue(will_be_wide(text), text)
        for text in ("ssl:443:privateKey=x.pem", "tcp:80:interface=192.168.1.2", "tcp6:80:interface=fe80\\:\\:1"):
            self.assertTrue(will_be_wide(text), text)
        for text in ("127.0.0.1:80", "localhost:80", "[::1]:80", "tcp:80:interface=127.0.0.1", "unix:/run/x.sock"):
            self.assertFalse(will_be_wide(text), text)
        for text in ("tcp6:80:interface=\\:\\:1:backlog=5", "systemd:domain=INET:name=http", "nonsense"):
            self.assertFalse(will_be_wide(text), text)

    def test_url(self) -> None:
        """The address of a listening port is told as a URL to be typed; where that is every one, as one that works."""
        self.assertEqual(told(IPv4Address("TCP", "127.0.0.1", 8080)), "http://127.0.0.1:8080")
        self.assertEqual(told(IPv6Address("TCP", "::1", 8080)), "http://[::1]:8080")
        self.assertEqual(told(IPv6Address("TCP", "::", 80)), "http://localhost:80 (every interface: [::]:80)")
        self.assertEqual(
            told(IPv4Address("TCP", "0.0.0.0", 80), "https"), "https://localhost:80 (every interface: 0.0.0.0:80)"
        )
        self.assertEqual(told(UNIXAddress("/run/socket")), "unix:/run/socket")
