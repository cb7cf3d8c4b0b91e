"""API keys, from outside: nothing but what is meant to be open is open, and no key leaks."""

from __future__ import annotations

import http.client
import itertools
import json
import signal
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import exchange
from tests.support_processes import wait_until

KEY = "sk-canary-7f3a"
SHOWN = {"Authorization": f"Bearer {KEY}"}
ROUTES = (
    "/",
    "/log",
    "/logs",
    "/logs/sources",
    "/logs/stream",
    "/logs/streamSSE",
    "/metrics",
    "/running",
    "/unload",
    "/ui",
    "/ui/",
    "/ui/models/a",
    "/ui/assets/v/app.js",
    "/upstream",
    "/upstream/a",
    "/upstream/a/",
    "/upstream/a/v1/models",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/audio/transcriptions",
    "/v1/audio/voices?model=a",
    "/props?model=a",
    "/comfyui/",
    "/api/events",
    "/api/models/unload",
    "/api/models/unload/a",
    "/api/metrics/activity",
    "/api/metrics/stats",
    "/api/captures/1",
    "/api/inflight/1/cancel",
    "/api/profiles",
    "/api/profiles/active",
    "/api/performance",
    "/api/hardware",
    "/api/version",
    "/health/",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CLOSED = {301, 302, 307, 308, 400, 401, 404, 405}


def spellings(path: str) -> list[str]:
    """Return ways to write a path that some parser might take for it."""
    first = path[1:2] or "x"
    return [
        path,
        f"/{path}",
        f"//{path}",
        f"/%{ord(first):02x}{path[2:]}",
        f"/ui/..{path}",
        f"/health/..{path}",
        f"/health/%2e%2e{path}",
        f"/.{path}",
        f"/health%2f..{path}",
        f"{path}%00",
        f"{path};x=/health",
        f"{path}{'&' if '?' in path else '?'}/health",
    ]


class ClosedTests(SynchronousTestCase):
    """Without a key, there is nothing to be had."""

    def test_every_route_in_every_spelling(self) -> None:
        """No method and no spelling of any path gets past, and none starts a model."""
        with ProxyUnderTest(fake_models("a", apiKeys=[KEY])) as proxy:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
            tried = 0
            for route, method in itertools.product(ROUTES, METHODS):
                for path in spellings(route):
                    body = b'{"model": "a"}' if method in {"POST", "PUT", "PATCH"} else None
                    connection.request(method, path, body)
                    answer = connection.getresponse()
                    answer.read()
                    self.assertIn(answer.status, CLOSED, f"{method} {path}")
                    tried += 1
            connection.close()
            self.assertEqual(tried, len(ROUTES) * 12 * 7)
            self.assertEqual(proxy.journal.events(), [])
            self.assertEqual(proxy.get("/running", SHOWN).json(), {"running": []})

    def test_upgrades(self) -> None:
        """A WebSocket is no way around."""
        with ProxyUnderTest(fake_models("a", apiKeys=[KEY])) as proxy:
            for target in ("/upstream/a/ws", "//upstream/a/ws", "/logs/stream", "/health/../upstream/a/ws"):
                received = exchange(
                    proxy.port,
                    f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode(),
                )
                self.assertTrue(received.startswith(b"HTTP/1.1 401 "), received[:100])
            self.assertEqual(proxy.journal.events(), [])

    def test_open(self) -> None:
        """Monitors and browsers get what they ask for first."""
        with ProxyUnderTest(fake_models("a", apiKeys=[KEY])) as proxy:
            for path in ("/health", "/wol-health", "/favicon.ico"):
                self.assertEqual(proxy.get(path).status, 200)
                self.assertEqual(proxy.ask("HEAD", path).status, 200)

    def test_browsers_are_asked(self) -> None:
        """A browser learns that it may ask its user, and reads a page."""
        with ProxyUnderTest(fake_models("a", apiKeys=[KEY])) as proxy:
            answer = proxy.get("/logs", {"Accept": "text/html,*/*"})
            self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, 'Basic realm="llama-swap"'))
            self.assertEqual(answer.headers.get_content_type(), "text/html")
            credentials = b64encode(f"me:{KEY}".encode()).decode()
            page = proxy.get("/logs", {"Accept": "text/html,*/*", "Authorization": f"Basic {credentials}"})
            self.assertEqual(page.status, 200)


class WithKeyTests(SynchronousTestCase):
    """With a key, everything works, and the key stays here."""

    def config(self, **more: Any) -> dict[str, Any]:
        """Return a configuration with an echoing model."""
        return {"models": {"a": fake_model("a", "--echo")}, "apiKeys": [KEY, "other"], **more}

    def test_not_forwarded(self) -> None:
        """The model sees neither the key nor the header, be it asked by name or directly."""
        credentials = b64encode(f"me:{KEY}".encode()).decode()
        with ProxyUnderTest(self.config()) as proxy:
            for sent in (
                {"Authorization": f"Bearer {KEY}"},
                {"Authorization": f"Basic {credentials}"},
                {"x-api-key": KEY},
                {"Authorization": f"Bearer {KEY}", "x-api-key": KEY, "api-key": KEY},
            ):
                for method, target, body in (
                    ("POST", "/v1/chat/completions", {"model": "a", "messages": []}),
                    ("GET", "/upstream/a/x", None),
                ):
                    raw = proxy.ask(method, target, body, {**sent, "X-Kept": "1"}).json()["request"]
                    self.assertIn("\r\nX-Kept: 1\r\n", raw)
                    for secret in (KEY, credentials, "uthorization", "pi-"):
                        self.assertNotIn(secret, raw)

    def test_not_forwarded_with_an_upgrade(self) -> None:
        """A request for a WebSocket loses its key as well."""
        config = {"models": {"a": fake_model("a", "--echo --no-upgrade")}, "apiKeys": [KEY]}
        with ProxyUnderTest(config) as proxy:
            raw = proxy.get("/upstream/a/ws", {**SHOWN, "Connection": "Upgrade", "Upgrade": "websocket"}).json()
            self.assertIn("Upgrade: websocket", raw["request"])
            self.assertNotIn(KEY, raw["request"])

    def test_other_keys(self) -> None:
        """A reload changes the keys, and nothing else."""
        config = self.config()
        with ProxyUnderTest(config) as proxy:
            self.assertEqual(proxy.get("/upstream/a/x", SHOWN).status, 200)
            self.reload(proxy, {**config, "apiKeys": ["new"]})
            self.assertEqual(proxy.get("/upstream/a/x", SHOWN).status, 401)
            self.assertEqual(proxy.get("/upstream/a/x", {"x-api-key": "new"}).status, 200)
            self.reload(proxy, {**config, "apiKeys": []})
            self.assertEqual(proxy.get("/upstream/a/x", SHOWN).status, 200)
            self.assertEqual(len(proxy.journal.events("start")), 1)

    def reload(self, proxy: ProxyUnderTest, config: dict[str, Any]) -> None:
        """Have another configuration read."""
        before = proxy.log().count("configuration reloaded")
        proxy.config_path.write_text(json.dumps(config))
        proxy.send_signal(signal.SIGHUP)
        wait_until(lambda: proxy.log().count("configuration reloaded") > before, 10)

    def test_other_keys_are_forwarded(self) -> None:
        """A header that holds somebody else's key goes on to the model."""
        with ProxyUnderTest(self.config()) as proxy:
            raw = proxy.get("/upstream/a/x", {**SHOWN, "x-api-key": "sk-of-the-model"}).json()["request"]
            self.assertIn("sk-of-the-model", raw)
            self.assertNotIn(KEY, raw)

    def test_wrong_key_that_is_no_text(self) -> None:
        """A key that is not ASCII is wrong like any other."""
        with ProxyUnderTest(self.config()) as proxy:
            for name in (b"Authorization: Bearer ", b"x-api-key: ", b"Authorization: Basic ", b"Authorization: "):
                for value in (b"\xc3\xa9", b"\xff\xfe", b"\x80" * 5000):
                    field = name + value
                    received = exchange(
                        proxy.port,
                        b"GET /running HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%b\r\n\r\n" % field,
                    )
                    self.assertTrue(received.startswith(b"HTTP/1.1 401 "), received[:100])

    def test_keys_from_the_environment(self) -> None:
        """A key may stand in a variable, which the models then do not get."""
        config = self.config(apiKeys=["${env.PROXY_KEY}"])
        with ProxyUnderTest(config, env={"PROXY_KEY": KEY, "HF_HOME": "/x"}) as proxy:
            self.assertEqual(proxy.get("/upstream/a/x").status, 401)
            self.assertEqual(proxy.get("/upstream/a/x", SHOWN).status, 200)
            for pid in proxy.journal.pids():
                inherited = Path(f"/proc/{pid}/environ").read_bytes()
                self.assertNotIn(KEY.encode(), inherited)
                self.assertIn(b"HF_HOME=/x", inherited)
