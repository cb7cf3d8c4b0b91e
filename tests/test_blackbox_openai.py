"""OpenAI's own client library works through a swap."""

from __future__ import annotations

from typing import Any

import openai
from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models


def client_of(proxy: ProxyUnderTest) -> openai.OpenAI:
    """Return a client that hides no error by asking again."""
    return openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key="none", max_retries=0, timeout=20)


class OpenAITests(SynchronousTestCase):
    """Each call, alternating between models."""

    def test_calls(self) -> None:
        """Chats, streamed chats, completions, embeddings and the list of models."""
        with ProxyUnderTest(fake_models("a", "b")) as proxy, client_of(proxy) as client:
            question: Any = [{"role": "user", "content": "Hi"}]
            for model in ("a", "b", "a"):
                chat = client.chat.completions.create(model=model, messages=question)
                self.assertEqual((chat.model, chat.choices[0].message.content), (model, "Hello!"))
                with client.chat.completions.create(model=model, messages=question, stream=True) as stream:
                    words = [chunk.choices[0].delta.content for chunk in stream]
                self.assertEqual("".join(map(str, words)), "word0 word1 word2 ")
                completion = client.completions.create(model=model, prompt="Hi")
                self.assertEqual(completion.choices[0].text, "Hello!")
                vector = client.embeddings.create(model=model, input="Hi", encoding_format="float")
                self.assertEqual(vector.data[0].embedding, [0.25, -0.5, 0.75])
                speech = client.audio.speech.create(model=model, voice="v", input="Hi")
                self.assertEqual(speech.read(), f"ID3 speech of {model}".encode())
            self.assertEqual([model.id for model in client.models.list()], ["a", "b"])
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_errors(self) -> None:
        """Errors arrive as the library's own exceptions, with our message."""
        config = {"models": {"a": fake_model("a", "--exit-after 0 --load-delay 9")}}
        with ProxyUnderTest(config) as proxy, client_of(proxy) as client:
            with self.assertRaises(openai.NotFoundError) as unknown:
                client.completions.create(model="nobody", prompt="Hi")
            self.assertIn("nobody", unknown.exception.message)
            with self.assertRaises(openai.InternalServerError) as failed:
                client.completions.create(model="a", prompt="Hi")
            self.assertEqual(failed.exception.status_code, 502)
            self.assertIn("out of memory", failed.exception.message)
