"""What who missed the paths of the API is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config
from llama_swap.web.admin import AdminRoutes
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.paths import POST, remedy
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client

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
            ("//chat/completions", "/v1/chat/completions"),
        ):
            self.assertEqual(remedy(path, SERVED.__contains__), f"did you mean {meant}?", path)

    def test_two_slashes(self) -> None:
        """Who has put them behind a base URL that ends with one is told another path than the one just asked for."""
        router = FakeRouter(Config(models=models("a")))
        inference = InferenceRoutes(Forwarder(router, Endpoints(), unwatched()), Inline())
        client = Client(site_of(Front(app_with(inference.add_to, AdminRoutes(router, 1).add_to))))
        for method, path, meant in (
            ("POST", "/v1//chat/completions", "/v1/chat/completions"),
            ("POST", "//chat/completions", "/v1/chat/completions"),
            ("GET", "/v1//models", "/v1/models"),
            ("GET", "/v1//models/", "/v1/models"),
        ):
            client.ask(method, path, b"{}" if method == "POST" else b"")
            self.assertEqual(client.error(), (404, f"no page {path} here: did you mean {meant}?"))

    def test_ollama(self) -> None:
        """Ollama's clients are told that this is another API, and what does the same."""
        for path, instead in (("/api/tags", "/v1/models"), ("/api/chat", "/v1/chat/completions")):
            self.assertEqual(remedy(path, SERVED.__contains__), f"Ollama's API is not offered here; use {instead}")

    def test_anything_else(self) -> None:
        """Where nothing is like it, nothing is guessed."""
        for path in ("/", "//", "/v1", "/v1/", "/nowhere", "/v1/nowhere", "/logs/x"):
            self.assertEqual(remedy(path, SERVED.__contains__), "")
