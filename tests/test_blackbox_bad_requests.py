"""Requests that cannot be served get one clear error each, and cost nobody anything."""

from __future__ import annotations

import http.client
import json

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_models
from tests.support_client import exchange

CHAT = "/v1/chat/completions"


class BadRequestTests(SynchronousTestCase):
    """Errors in OpenAI's shape."""

    def test_bodies(self) -> None:
        """A body that is no JSON object with one `model` is 400, on a connection that stays usable."""
        bodies = [
            b"",
            b"Hello",
            b"{",
            b'{"model": "a"',
            b'{"model": "a"} x',
            b'{"model": "a",}',
            b'{"model": "a"} // comment',
            b"[]",
            b'"a"',
            b"null",
            b"{}",
            b'{"messages": []}',
            b'{"model": null}',
            b'{"model": 7}',
            b'{"model": ["a"]}',
            b'{"model": ""}',
            b'{"model": "a", "model": "a"}',
            b'{"model": "a", "model": "b"}',
            b'{"model": "a", "mod\\u0065l": "b"}',
            b'{"model": "a", "x": "\xff"}',
            '{"model": "a"}'.encode("utf-16"),
            b'\xef\xbb\xbf{"model": "a"',
            b'{"x": ' + b"[" * 100_000,
        ]
        with ProxyUnderTest(fake_models("a", "b")) as proxy:
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
            for body in bodies:
                connection.request("POST", CHAT, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                self.assertEqual(answer.status, 400, body[:50])
                error = json.loads(content)["error"]
                self.assertEqual(error["type"], "invalid_request_error")
                self.assertTrue(error["message"])
            connection.close()
            self.assertEqual(proxy.journal.events(), [])
            self.assertEqual(proxy.served("a"), "a")

    def test_missing_model_is_told(self) -> None:
        """The message says what is missing, as clients of the first versions know it."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            message = proxy.post(CHAT, {"messages": []}).error()["message"]
            self.assertIn("model", message)

    def test_unknown_model(self) -> None:
        """A model that nobody knows is 404 and named, whatever its name holds."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            for name in (
                "nobody",
                "x; touch MARKER",
                "$(touch MARKER)",
                "a\r\nX-Evil: 1",
                "../a",
                "Größe",
                "A",
            ):
                answer = proxy.chat(name)
                self.assertEqual(answer.status, 404, name)
                self.assertEqual(answer.error()["type"], "invalid_request_error")
                self.assertNotIn("X-Evil", answer.headers)
            self.assertIn("nobody", proxy.chat("nobody").error()["message"])
            self.assertEqual(proxy.journal.events(), [])
            self.assertFalse((proxy.directory / "MARKER").exists())

    def test_error_shape(self) -> None:
        """Errors say where they come from; `Accept` may ask for text or a page instead."""
        with ProxyUnderTest(fake_models("a")) as proxy:
            said = proxy.chat("nobody").json()
            self.assertEqual(said["src"], "llama-swap")
            self.assertEqual(set(said["error"]), {"message", "type", "param", "code"})
            for kind in ("text/plain", "text/html"):
                answer = proxy.ask("POST", CHAT, {"model": "<nobody>"}, {"Accept": kind})
                self.assertEqual((answer.status, answer.headers.get_content_type()), (404, kind))
                self.assertEqual(b"<nobody>" in answer.body, kind == "text/plain")

    def test_broken_framing(self) -> None:
        """Requests whose end nobody can be sure of never reach an upstream."""
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n"
        body = '{"model": "a"}'
        framings = [
            "Content-Length: 14\r\nContent-Length: 14\r\n",
            "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +14\r\n",
            "Content-Length: 0xe\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding : chunked\r\n",
        ]
        with ProxyUnderTest(fake_models("a")) as proxy:
            for framing in framings:
                answer = exchange(proxy.port, f"{head}{framing}\r\n{body}".encode())
                self.assertRegex(answer[:20], rb"^(|HTTP/1\.1 (4\d\d|501) .*)", framing)
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1 if answer else 0, framing)
            self.assertEqual(proxy.journal.events(), [])
            self.assertEqual(proxy.get("/health").status, 200)
