"""Anthropic's own client library works through a swap: llama-server answers its requests as well as OpenAI's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "a",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 3},
}
STREAM: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in ("Hel", "lo", "!")
    ),
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
)
QUESTION: Any = [{"role": "user", "content": "Hi"}]


def client_of(proxy: ProxyUnderTest, key: str = "none") -> anthropic.Anthropic:
    """Return a client that hides no error by asking again."""
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{proxy.port}", api_key=key, max_retries=0, timeout=20)


class AnthropicTests(SynchronousTestCase):
    """Messages, whole and streamed, from servers that say what is written down for them."""

    def answering(self, kind: str, body: bytes) -> dict[str, object]:
        """Return a model that answers every request with `body`."""
        path = Path(self.mktemp()).resolve()
        path.write_bytes(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind.encode(), len(body), body)
        )
        return fake_model(path.name, f"--raw {path}")

    def models(self) -> dict[str, object]:
        """Return a model for each kind of answer; only one of them can run at a time."""
        events = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in STREAM)
        return {
            "whole": self.answering("application/json", json.dumps(MESSAGE).encode()),
            "streamed": self.answering("text/event-stream", events.encode()),
            "counted": self.answering("application/json", b'{"input_tokens": 5}'),
        }

    def test_calls(self) -> None:
        """A message, a streamed one, and a count of tokens; each makes another model run."""
        with ProxyUnderTest({"models": self.models()}) as proxy, client_of(proxy) as client:
            message = client.messages.create(model="whole", max_tokens=9, messages=QUESTION)
            self.assertEqual((message.content[0].text, message.usage.output_tokens), ("Hello!", 3))
            with client.messages.stream(model="streamed", max_tokens=9, messages=QUESTION) as stream:
                self.assertEqual(list(stream.text_stream), ["Hel", "lo", "!"])
                self.assertEqual(stream.get_final_message().stop_reason, "end_turn")
            count = client.messages.count_tokens(model="counted", messages=QUESTION)
            self.assertEqual(count.input_tokens, 5)
            asked = [event["path"] for event in proxy.journal.events("req")]
            self.assertEqual(asked, ["/v1/messages", "/v1/messages", "/v1/messages/count_tokens"])
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_keys(self) -> None:
        """The library shows its key in `x-api-key`; a wrong one is the exception that the library has for that."""
        with ProxyUnderTest({"models": self.models(), "apiKeys": ["right"]}) as proxy:
            with client_of(proxy, "wrong") as client, self.assertRaises(anthropic.AuthenticationError):
                client.messages.create(model="whole", max_tokens=9, messages=QUESTION)
            self.assertEqual(proxy.journal.events("start"), [])
            with client_of(proxy, "right") as client:
                message = client.messages.create(model="whole", max_tokens=9, messages=QUESTION)
                self.assertEqual(message.id, "msg_1")

    def test_errors(self) -> None:
        """An unknown model is the exception that the library has for that, with our message."""
        with ProxyUnderTest({"models": self.models()}) as proxy, client_of(proxy) as client:
            with self.assertRaises(anthropic.NotFoundError) as unknown:
                client.messages.create(model="nobody", max_tokens=9, messages=QUESTION)
            self.assertIn("nobody", str(unknown.exception))
