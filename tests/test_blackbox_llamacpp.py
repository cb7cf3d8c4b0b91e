"""The real llama.cpp behind the proxy, asked by OpenAI's own client library."""

from __future__ import annotations

import shlex
from typing import Any

import openai
from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest
from tests.support_llamacpp import COMMAND, fetched_model
from tests.support_processes import free_port

QUESTION: Any = [{"role": "user", "content": "Say something."}]


def llama_cpp(*flags: str) -> dict[str, Any]:
    """Return an entry of `models` that serves the demo's model with the embedded llama.cpp."""
    port = free_port()
    common = ("-m", str(fetched_model()), "--port", str(port), "-c", "512", "-t", "1", "--no-warmup")
    return {"cmd": shlex.join([*COMMAND, *common, *flags]), "proxy": f"http://127.0.0.1:{port}"}


class LlamaCppTests(SynchronousTestCase):
    """Swapping between servers of one small model."""

    def test_swap(self) -> None:
        """Chats, streams and completions alternate between two; embeddings come from a third."""
        models = {"one": llama_cpp(), "two": llama_cpp(), "vectors": llama_cpp("--embeddings", "--pooling", "mean")}
        with ProxyUnderTest({"models": models}) as proxy:
            url = f"http://127.0.0.1:{proxy.port}/v1"
            with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client:
                for name in ("one", "two"):
                    chat = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=4)
                    self.assertEqual(chat.usage and chat.usage.completion_tokens, 4)
                    stream = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=4, stream=True)
                    self.assertGreater(sum(1 for _ in stream), 2)
                    completion = client.completions.create(model=name, prompt="Once", max_tokens=4)
                    self.assertEqual(completion.usage and completion.usage.completion_tokens, 4)
                    self.assertEqual(proxy.running(), {name: "ready"})
                vector = client.embeddings.create(model="vectors", input="Hi", encoding_format="float")
                self.assertGreater(len(vector.data[0].embedding), 16)
            self.assertIn(b"eval time =", proxy.get("/logs?bytes=100000").body)

    def test_abandoned_stream(self) -> None:
        """A client that leaves a long answer ends it: the next request gets the model's only slot at once."""
        with ProxyUnderTest({"models": {"one": llama_cpp("-np", "1", "-c", "4096")}}) as proxy:
            endless = {"model": "one", "prompt": "Once", "stream": True, "max_tokens": 4000, "ignore_eos": True}
            with proxy.posting("/v1/completions", endless) as stream:
                events = stream.events()
                for _ in range(3):
                    next(events)
            answer = proxy.post("/v1/completions", {"model": "one", "prompt": "Once", "max_tokens": 2})
            self.assertEqual(answer.status, 200)
            self.assertLess(answer.seconds, 10)
