"""How errors look to clients."""

from __future__ import annotations

import json
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from llama_swap import errors
from llama_swap.errors import NotFound, SwapError
from llama_swap.server.errors import describe, render

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def all_errors() -> Iterator[type[SwapError]]:
    """Return every kind of error that takes a message."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, SwapError) and kind is not errors.ConfigError:
            yield kind


class RenderTests(SynchronousTestCase):
    """`render` and `describe`."""

    def test_shape(self) -> None:
        """Every error has the members of OpenAI's object and of Anthropic's, and says where it comes from."""
        for kind in all_errors():
            content_type, body = render(kind("it «broke»\n"), b"")
            self.assertEqual(content_type, b"application/json")
            said = json.loads(body)
            self.assertEqual(
                said,
                {
                    "src": "llama-swap",
                    "type": "error",
                    "error": {
                        "message": str(kind("it «broke»\n")),
                        "type": kind.type,
                        "param": None,
                        "code": kind.code,
                    },
                },
            )
            self.assertEqual(said["error"], describe(kind("it «broke»\n")))
            self.assertEqual(kind.status >= 500, kind.type == "server_error", kind)

    def test_accept(self) -> None:
        """JSON, unless the client prefers to read text or a page."""
        for accept, kind in (
            (b"", b"application/json"),
            (b"*/*", b"application/json"),
            (b"image/png", b"application/json"),
            (b"application/json", b"application/json"),
            (b"application/json, text/html", b"application/json"),
            (b"text/event-stream", b"application/json"),
            (b"text/plain", b"text/plain; charset=utf-8"),
            (b"text/html", b"text/html; charset=utf-8"),
            (BROWSER, b"text/html; charset=utf-8"),
        ):
            self.assertEqual(render(NotFound("x"), accept)[0], kind, accept)

    def test_text(self) -> None:
        """As text the message is as it is; in a page it is no markup."""
        self.assertEqual(render(NotFound("no «<b>»"), b"text/plain")[1].decode(), "llama-swap: no «<b>»\n")
        page = render(NotFound("no <b> & \"'"), b"text/html")[1].decode()
        self.assertIn("no &lt;b&gt; &amp; &quot;&#x27;", page)

    def test_any_message(self) -> None:
        """A message with a lone surrogate, from some JSON, can be sent."""
        for accept in (b"", b"text/plain", b"text/html"):
            self.assertIn(b"no \\ud800", render(NotFound("no \ud800"), accept)[1])
