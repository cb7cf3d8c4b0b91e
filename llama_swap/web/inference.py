"""The routes that a model answers: `model` is in the JSON body."""

from __future__ import annotations

from collections.abc import Callable

from klein import Klein
from twisted.web.http import Request
from twisted.web.resource import IResource

from llama_swap.web.body import read_model, replace_model
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.site import body_of

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/audio/speech",
)


class InferenceRoutes:
    """Finds the model of a request, and has the request forwarded to it."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        for path in PATHS:
            app.route(path, methods=["POST"])(self.infer)

    def direct(self) -> dict[bytes, Callable[[Request], IResource]]:
        """Return the same routes by path, for those who cannot wait for Klein to find them."""
        return {path.encode(): self.infer for path in PATHS}

    def infer(self, request: Request) -> IResource:
        """Return the resource that forwards `request` to the model that its body names."""
        body = body_of(request) or b""
        name = read_model(body)
        names = self._forwarder.names
        target = names.resolve(name)
        upstream_name = names.upstream_name(name, target)
        if upstream_name != name:
            body = replace_model(body, upstream_name)
        return self._forwarder.forward(request, target, request.uri, body)
