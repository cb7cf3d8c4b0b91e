"""OpenAI's own client library works through a swap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model, fake_models


def client_of(proxy: ProxyUnderTest) -> openai.OpenAI:
    """Return a client that hides no error by asking again."""
    return openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key="none", max_retries=0, timeout=20)


def answering(path: Path, answer: object) -> dict[str, object]:
    """Return a model whose server answers every request with this JSON."""
    body = json.dumps(answer).encode()
    path.write_bytes(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    return fake_model(path.name, f"--raw {path}")


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
            self.assertEqual(client.models.retrieve("b").id, "b")
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_tools_and_uploads(self) -> None:
        """Calls of tools come back as the model made them; files go to the model that the form names."""
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        chat = {"id": "1", "object": "chat.completion", "created": 1, "model": "tools", "choices": [choice]}
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        models = {
            "tools": answering(directory / "tools", chat),
            "whisper": answering(directory / "whisper", {"text": "Hello!"}),
            "painter": answering(directory / "painter", {"created": 1, "data": [{"b64_json": "aGk="}]}),
        }
        weather: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
        question: Any = [{"role": "user", "content": "Is it raining?"}]
        with ProxyUnderTest({"models": models}) as proxy, client_of(proxy) as client:
            answer = client.chat.completions.create(model="tools", messages=question, tools=[weather])
            [called] = answer.choices[0].message.tool_calls or []
            self.assertEqual(called.to_dict(), call)
            heard = client.audio.transcriptions.create(model="whisper", file=("a.wav", b"RIFF" * 100_000))
            self.assertEqual(heard.text, "Hello!")
            edited = client.images.edit(model="painter", image=("a.png", b"PNG" * 1000), prompt="bluer")
            self.assertEqual([image.b64_json for image in edited.data or []], ["aGk="])
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_newer_calls(self) -> None:
        """Responses, whole and streamed, and pictures; ranks, which the library has no name for."""
        text = {"type": "output_text", "text": "Hello!", "annotations": []}
        message = {"id": "m1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
        whole = {"id": "r1", "object": "response", "created_at": 1, "model": "whole", "output": [message]}
        deltas: list[dict[str, object]] = [
            {
                "type": "response.output_text.delta",
                "delta": part,
                "item_id": "m1",
                "output_index": 0,
                "content_index": 0,
            }
            for part in ("Hel", "lo!")
        ]
        events = [*deltas, {"type": "response.completed", "response": whole}]
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        stream = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        (directory / "streamed").write_bytes(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream)
        models = {
            "whole": answering(directory / "whole", whole),
            "streamed": fake_model("streamed", f"--raw {directory / 'streamed'}"),
            "painter": answering(directory / "painter", {"created": 1, "data": [{"b64_json": "aGk="}]}),
            "ranker": fake_model("ranker"),
        }
        with ProxyUnderTest({"models": models}) as proxy, client_of(proxy) as client:
            self.assertEqual(client.responses.create(model="whole", input="Hi").output_text, "Hello!")
            with client.responses.create(model="streamed", input="Hi", stream=True) as told:
                self.assertEqual([event.type for event in told], [event["type"] for event in events])
            painted = client.images.generate(model="painter", prompt="a cat")
            self.assertEqual([image.b64_json for image in painted.data or []], ["aGk="])
            asked = {"model": "ranker", "query": "x", "documents": ["y"]}
            ranked: Any = client.post("/rerank", body=asked, cast_to=object)
            self.assertEqual(ranked["results"][0]["relevance_score"], 0.9)
            paths = [event["path"] for event in proxy.journal.events("req")]
            self.assertEqual(paths, ["/v1/responses", "/v1/responses", "/v1/images/generations", "/v1/rerank"])
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
