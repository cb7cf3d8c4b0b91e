"""Browsers, from outside: foreign pages can do nothing, and those that may, can."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models
from tests.support_client import exchange

FOREIGN = "https://evil.test"
QUESTION = b'{"model": "a", "messages": []}'
CHAT = "/v1/chat/completions"


class ForeignPageTests(SynchronousTestCase):
    """Pages of other sites."""

    def test_forgeries(self) -> None:
        """A form, a picture and a script of another site start and stop nothing."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            form = {"Origin": FOREIGN, "Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}
            picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
            script = {"Origin": "null", "Content-Type": "application/x-www-form-urlencoded"}
            for method, target, body, headers in (
                ("POST", CHAT, QUESTION, form),
                ("POST", CHAT, QUESTION, script),
                ("POST", "/api/models/unload", b"", form),
                ("GET", "/upstream/a/", None, picture),
                ("GET", "/upstream/a/", None, {"Origin": FOREIGN}),
            ):
                answer = proxy.ask(method, target, body, headers)
                self.assertEqual(answer.status, 403, target)
                self.assertIn("allowedOrigins", answer.error()["message"])
            self.assertEqual(proxy.journal.events(), [])
            self.assertEqual(proxy.log().count("refused: "), 3, "once for each page")
            proxy.served("a")
            for target in ("/unload", "//unload", "/%75nload"):
                self.assertEqual(proxy.get(target, picture).status, 403)
            self.assertEqual(proxy.running(), {"a": "ready"})

    def test_websocket(self) -> None:
        """A foreign page gets no WebSocket, and no model for it."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            received = exchange(
                proxy.port,
                b"GET /upstream/a/ws HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.test\r\n"
                b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            )
            self.assertTrue(received.startswith(b"HTTP/1.1 403 "), received[:100])
            self.assertEqual(proxy.journal.events(), [])

    def test_rebinding(self) -> None:
        """A name that is not this machine's is refused, until it is listed."""
        with ProxyUnderTest(fake_models("a", allowedHosts=["gpu.example"])) as proxy:
            for host, status in (
                ("evil.test", 403),
                (f"evil.test:{proxy.port}", 403),
                ("localhost:8080", 200),
                ("127.0.0.1", 200),
                ("[::1]", 200),
                ("gpu.example", 200),
            ):
                self.assertEqual(proxy.get("/health", {"Host": host}).status, status, host)


class AllowedPageTests(SynchronousTestCase):
    """Pages that may use the proxy."""

    def test_stream(self) -> None:
        """A page of this machine may ask, and read what comes."""
        with ProxyUnderTest({"models": {"a": fake_model("a", "--stream 3@1")}}) as proxy:
            page = {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "cross-site"}
            answer = proxy.ask("POST", CHAT, {"model": "a", "stream": True, "messages": []}, page)
            self.assertEqual((answer.status, answer.headers.get_content_type()), (200, "text/event-stream"))
            self.assertEqual(answer.headers.get_all("Access-Control-Allow-Origin"), ["http://localhost:3000"])
            self.assertTrue(answer.body.endswith(b"data: [DONE]\n\n"))
            missing = proxy.ask("POST", CHAT, {"model": "nobody"}, page)
            self.assertEqual((missing.status, missing.headers["Access-Control-Allow-Origin"]), (404, page["Origin"]))

    def test_dashboard(self) -> None:
        """A page that may read everything sees what runs, and can stop it; others still cannot."""
        cors = {"allowedOrigins": ["https://dash.example"], "allowCredentials": True}
        with ProxyUnderTest(fake_models("a", security={"cors": cors})) as proxy:
            page = {"Origin": "https://dash.example", "Sec-Fetch-Site": "cross-site"}
            self.assertEqual(proxy.served("a"), "a")
            running = proxy.get("/running", page)
            self.assertEqual(running.json()["running"][0]["model"], "a")
            self.assertEqual(running.headers.get_all("Access-Control-Allow-Origin"), ["https://dash.example"])
            self.assertEqual(running.headers["Access-Control-Allow-Credentials"], "true")
            self.assertEqual(proxy.get("/unload", {"Origin": "https://evil.example"}).status, 403)
            self.assertEqual(proxy.get("/unload", page).status, 200)
            self.assertEqual(proxy.running(), {})

    def test_preflight(self) -> None:
        """The question before a question is answered with no more than names, and starts nothing."""
        with ProxyUnderTest(fake_models("a", allowedOrigins=["https://chat.example"], apiKeys=["sk-1"])) as proxy:
            asked = "authorization, bad name, x-ok, y\tz, (comment)"
            for target in (CHAT, "/v1/models", "/upstream/a/v1/models"):
                answer = proxy.ask(
                    "OPTIONS",
                    target,
                    None,
                    {
                        "Origin": "https://chat.example",
                        "Access-Control-Request-Method": "POST",
                        "Access-Control-Request-Headers": asked,
                    },
                )
                self.assertEqual((answer.status, answer.body), (204, b""))
                self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://chat.example")
                self.assertEqual(answer.headers["Access-Control-Allow-Headers"], "authorization, x-ok")
            self.assertEqual(proxy.journal.events(), [])
