"""Streams that say what they wait for."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_client import CUT, Stream, at_once


def thoughts(events: list[Any]) -> str:
    """Return what is said before the answer."""
    return "".join(
        event["choices"][0].get("delta", {}).get("reasoning_content", "") for event in events if "choices" in event
    )


class LoadingStateTests(SynchronousTestCase):
    """`sendLoadingState`."""

    def proxy(self, knobs: str, **config: Any) -> ProxyUnderTest:
        """Return a proxy with one model."""
        return ProxyUnderTest({"sendLoadingState": True, "models": {"m": fake_model("m", knobs, **config)}})

    def events(self, stream: Stream) -> list[Any]:
        """Return the events of a whole stream, without its last word."""
        self.assertEqual((stream.status, stream.headers.get_content_type()), (200, "text/event-stream"))
        return [json.loads(data) for _, data in stream.events() if data != b"[DONE]"]

    def test_loading(self) -> None:
        """What is loaded is told, then there are dots, then the answer; once it is loaded, only the answer."""
        with self.proxy("--load-delay 0.8") as proxy:
            with proxy.stream("m") as stream:
                events = self.events(stream)
            said = thoughts(events)
            self.assertRegex(said, r"\nllama-swap loading model: m\n\.+\nDone! \(\d+\.\d\ds\)")
            self.assertEqual({event["model"] for event in events}, {"m"})
            with proxy.stream("m") as stream:
                self.assertEqual(thoughts(self.events(stream)), "")

    def test_strict_clients(self) -> None:
        """Each event has all that OpenAI's chunks have, of the types that they have there."""
        began = int(time.time())
        with self.proxy("--load-delay 0.2") as proxy, proxy.stream("m") as stream:
            events = self.events(stream)
        self.assertIn("Done!", thoughts(events))
        self.assertIn(events[0]["created"], range(began, int(time.time()) + 1))
        for event in events:
            [choice] = event["choices"]
            self.assertIsInstance(event["id"], str)
            self.assertIsInstance(event["created"], int)
            self.assertEqual((event["object"], event["model"]), ("chat.completion.chunk", "m"))
            self.assertEqual((choice["index"], set(choice)), (0, {"index", "delta", "finish_reason"}))

    def test_large(self) -> None:
        """A chat of any size is told; what it asks for may be its own, or that of the model's filters."""
        for asked, filters in ((True, {}), (False, {"setParams": {"stream": True}})):
            body = {"model": "m", "messages": [{"role": "user", "content": "x" * 3_000_000}], "stream": asked}
            with (
                self.proxy("--load-delay 0.8", filters=filters) as proxy,
                proxy.posting("/v1/chat/completions", body) as stream,
            ):
                self.assertIn("llama-swap loading model: m\n", thoughts(self.events(stream)))

    def test_not_streamed(self) -> None:
        """Who wants no stream, or no chat, gets none."""
        with self.proxy("--load-delay 0.2") as proxy:
            self.assertEqual(proxy.served("m"), "m")
            large = {"model": "m", "messages": ["x" * 3_000_000], "stream": False}
        with self.proxy("--load-delay 0.2") as proxy:
            self.assertEqual(proxy.post("/v1/chat/completions", large).json()["model"], "m")
        asked = {"model": "m", "stream": True}
        with self.proxy("--load-delay 0.2") as proxy, proxy.posting("/v1/completions", asked) as stream:
            self.assertEqual(thoughts(self.events(stream)), "")

    def test_off(self) -> None:
        """A model may not want it."""
        with self.proxy("--load-delay 0.2", sendLoadingState=False) as proxy, proxy.stream("m") as stream:
            self.assertEqual(thoughts(self.events(stream)), "")

    def test_failed_load(self) -> None:
        """A load that fails is the last event of a stream that is whole; each line of it is one of an event."""
        with self.proxy("--exit-after 0.3 --load-delay 5") as proxy, proxy.stream("m") as stream:
            events = self.events(stream)
            error = events[-1]["error"]
            self.assertEqual((error["code"], error["type"]), ("bad_gateway", "server_error"))
            self.assertIn("exit status", error["message"])

    def test_over_the_limit(self) -> None:
        """Who is over the limit is told with a status, not in a stream; slots are free afterwards."""
        with self.proxy("--load-delay 1", concurrencyLimit=2) as proxy, at_once(10) as clients:
            body = {"model": "m", "stream": True, "messages": []}
            answers = [clients.submit(proxy.post, "/v1/chat/completions", body) for _ in range(10)]
            statuses = [answer.result() for answer in answers]
            refused = [answer for answer in statuses if answer.status == 429]
            self.assertEqual((len(refused), len(statuses)), (8, 10))
            for answer in refused:
                self.assertEqual((answer.error()["code"], answer.headers["Retry-After"]), ("concurrency_limit", "1"))
            self.assertEqual(proxy.served("m"), "m")

    def test_broken_answer(self) -> None:
        """An answer that breaks off does not look whole."""
        knobs = "--load-delay 0.3 --stream 20@50 --die-mid-stream"
        with self.proxy(knobs) as proxy, proxy.stream("m") as stream, self.assertRaises(CUT):
            self.events(stream)

    def test_client_leaves(self) -> None:
        """Who leaves while a model is loaded leaves nothing behind."""
        with self.proxy("--load-delay 1") as proxy:
            with proxy.stream("m") as stream:
                next(stream.events())
            self.assertEqual(proxy.served("m"), "m")
