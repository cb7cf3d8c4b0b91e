"""What who missed the paths of the API is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.web.paths import POST, remedy

SERVED = {*POST, "/v1/models", "/models", "/logs"}


class RemedyTests(SynchronousTestCase):
    """`remedy`."""

    def test_meant(self) -> None:
        """A base URL without its version, or with one too many, and a slash too many, are seen through."""
        for path, meant in (
            ("/chat/completions", "/v1/chat/completions"),
            ("/messages/count_tokens", "/v1/messages/count_tokens"),
            ("/v1/v1/messages", "/v1/messages"),
            ("/openai/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/embeddings/", "/v1/embeddings"),
            ("/models/", "/models"),
            ("/logs/", "/logs"),
        ):
            self.assertEqual(remedy(path, SERVED.__contains__), f"did you mean {meant}?", path)

    def test_ollama(self) -> None:
        """Ollama's clients are told that this is another API, and what does the same."""
        for path, instead in (("/api/tags", "/v1/models"), ("/api/chat", "/v1/chat/completions")):
            self.assertEqual(remedy(path, SERVED.__contains__), f"Ollama's API is not offered here; use {instead}")

    def test_anything_else(self) -> None:
        """Where nothing is like it, nothing is guessed."""
        for path in ("/", "//", "/v1", "/v1/", "/nowhere", "/v1/nowhere", "/logs/x"):
            self.assertEqual(remedy(path, SERVED.__contains__), "")
