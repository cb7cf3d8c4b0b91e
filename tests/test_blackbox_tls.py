"""Clients that speak TLS: whole answers, streams, large bodies, and those who leave."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, run_proxy
from tests.support_client import Stream, assert_each_at_once
from tests.support_processes import wait_until
from tests.support_tls import make_certificates
from tests.test_blackbox_reload import NOT_RELOADED, reload


class TLSTests(SynchronousTestCase):
    """Both ways to have a certificate used."""

    def setUp(self) -> None:
        """Make the certificates."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.files = make_certificates(self.directory)

    def proxy(self, *knobs: str, twistd: bool = False) -> ProxyUnderTest:
        """Return a proxy with a certificate, and a model with these knobs."""
        options = ["--tls-cert-file", self.files.certificate, "-tls-key-file", self.files.key]
        return ProxyUnderTest({"models": {"m": fake_model("m", " ".join(knobs))}}, *options, twistd=twistd)

    def connect(self, proxy: ProxyUnderTest, trust: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        """Return a connection of a client that trusts the authority, and nobody else."""
        trust = trust or self.files.trusting()
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=20, context=trust)
        self.addCleanup(connection.close)
        return connection

    def post(self, connection: http.client.HTTPSConnection, body: Mapping[str, Any]) -> http.client.HTTPResponse:
        """Chat."""
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse()

    def assert_serves(self, proxy: ProxyUnderTest) -> None:
        """Requests and streams go through, one after the other on one connection."""
        connection = self.connect(proxy)
        for _ in range(3):
            with self.post(connection, {"model": "m"}) as answer:
                self.assertEqual((answer.status, json.loads(answer.read())["served_by"]), (200, "m"))
            with self.post(connection, {"model": "m", "stream": True}) as answer:
                self.assertTrue(answer.read().endswith(b"data: [DONE]\n\n"))

    def test_flags(self) -> None:
        """With the two flags, as Go's programs have them; the start line says where."""
        with self.proxy() as proxy:
            self.assertIn(f"listening on https://127.0.0.1:{proxy.port}\n", proxy.log())
            self.assert_serves(proxy)

    def test_daemon_door(self) -> None:
        """The service of twistd takes the same flags."""
        with self.proxy(twistd=True) as proxy:
            self.assert_serves(proxy)

    def test_endpoint_string(self) -> None:
        """With a string of Twisted's own."""
        leaf = self.directory / "leaf.pem"
        whole = Path(self.files.certificate).read_text()
        end = "-----END CERTIFICATE-----\n"
        leaf.write_text(whole.partition(end)[0] + end)
        (issuer := self.directory / "issuer.pem").write_text(whole.partition(end)[2])
        certificate = f"certKey={leaf}:privateKey={self.files.key}:extraCertChain={issuer}"
        address = f"ssl:0:interface=127.0.0.1:{certificate}"
        with ProxyUnderTest({"models": {"m": fake_model("m")}}, "--listen", address) as proxy:
            self.assert_serves(proxy)

    def test_renewal(self) -> None:
        """A reload has new connections get the certificate as it is by then, however it is named; others go on."""
        endpoint = f"ssl:0:interface=127.0.0.1:certKey={self.files.certificate}:privateKey={self.files.key}"
        models = {"models": {"m": fake_model("m")}}
        for proxy in (self.proxy(), self.proxy(twistd=True), ProxyUnderTest(models, "--listen", endpoint)):
            with proxy:
                before, shown = self.connect(proxy, ssl._create_unverified_context()), self.shown(proxy)
                self.assertEqual(self.post(before, {"model": "m"}).read()[:1], b"{")
                Path(self.files.certificate).write_text("half a certif")
                reload(proxy, models, NOT_RELOADED)
                self.assertEqual(self.shown(proxy), shown)
                make_certificates(self.directory)
                reload(proxy, models)
                renewed = self.shown(proxy)
                self.assertNotEqual(renewed, shown)
                self.assertIn(renewed, Path(self.files.certificate).read_text())
                with self.post(before, {"model": "m"}) as answer:
                    self.assertEqual(answer.status, 200)

    def test_watched(self) -> None:
        """With `--watch-config`, a renewed certificate is noticed by itself."""
        files = ["-tls-cert-file", self.files.certificate, "-tls-key-file", self.files.key]
        with ProxyUnderTest({"models": {"m": fake_model("m")}}, "--watch-config", *files) as proxy:
            before = self.shown(proxy)
            make_certificates(self.directory)
            wait_until(lambda: self.shown(proxy) != before, 8, "the new certificate")
            self.assertIn(self.shown(proxy), Path(self.files.certificate).read_text())

    def shown(self, proxy: ProxyUnderTest) -> str:
        """Return the certificate that a new client is shown."""
        return ssl.get_server_certificate(("127.0.0.1", proxy.port), timeout=5)

    def test_large(self) -> None:
        """Large bodies arrive whole, and large answers of a client that is slow to read."""
        with self.proxy("--stream 40000@0") as proxy:
            connection = self.connect(proxy)
            body = {"model": "m", "pad": "x" * 8_000_000}
            with self.post(connection, body) as answer:
                said = json.loads(answer.read())
            sent = json.dumps(body).encode()
            self.assertEqual((said["body_bytes"], said["body_crc32"]), (len(sent), zlib.crc32(sent)))
            with self.post(connection, {"model": "m", "stream": True}) as answer:
                text = answer.read()
            self.assertEqual(text.count(b"data: "), 40_002)

    def test_events_are_not_held_back(self) -> None:
        """An event of a stream is there before the next is made."""
        with self.proxy("--stream 4@150") as proxy:
            connection = self.connect(proxy)
            with Stream(connection, self.post(connection, {"model": "m", "stream": True})) as stream:
                assert_each_at_once(stream)

    def test_client_leaves(self) -> None:
        """The model learns within a second that a client has left."""
        with self.proxy("--stream 600@100") as proxy:
            connection = self.connect(proxy)
            answer = self.post(connection, {"model": "m", "stream": True})
            answer.read1()
            answer.close()
            connection.close()
            proxy.journal.wait_for("client_gone", "m", timeout=1)

    def test_plain_client(self) -> None:
        """Who does not speak TLS gets nothing, and disturbs nobody."""
        with self.proxy() as proxy:
            with socket.create_connection(("127.0.0.1", proxy.port), 5) as plain:
                plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertNotIn(b"HTTP", plain.recv(1000))
            with self.assertRaises(ssl.SSLError):
                untrusting = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=5)
                untrusting.request("GET", "/health")
            self.assert_serves(proxy)

    def test_refused(self) -> None:
        """Half a pair, files that are no certificate, and a pair that does not fit end with a message and status 1."""
        config = self.directory / "config.yaml"
        config.write_text(json.dumps({"models": {"m": fake_model("m")}}))
        other = self.directory / "other"
        other.mkdir()
        foreign = make_certificates(other)
        for options, message in (
            (["-tls-cert-file", self.files.certificate], "belong together"),
            (["-tls-key-file", self.files.key], "belong together"),
            (["-tls-cert-file", "/no/such", "-tls-key-file", self.files.key], "/no/such cannot be read: No such file"),
            (["-tls-cert-file", str(config), "-tls-key-file", self.files.key], "is not a certificate, in PEM"),
            (["-tls-cert-file", self.files.certificate, "-tls-key-file", foreign.key], "is not the key of the"),
        ):
            ended = run_proxy("--config", str(config), "--listen", "127.0.0.1:0", *options)
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertIn(message, ended.stderr)
            self.assertNotIn("Traceback", ended.stderr)
