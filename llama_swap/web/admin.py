"""The routes about the models: which there are, which run, and unloading them."""

from __future__ import annotations

import shlex
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http import Request

from llama_swap.config.masking import masked
from llama_swap.config.model import ModelConfig
from llama_swap.errors import NotFound
from llama_swap.routing.router import Router
from llama_swap.server.answers import JSON, answer, json_answer, text_answer
from llama_swap.web.failures import refuse_head
from llama_swap.web.listing import Listing


class AdminRoutes:
    """Lists models, shows which run, and unloads them."""

    def __init__(self, router: Router, created: int) -> None:
        self._router = router
        self._created = created  # `created` of every model in /v1/models, in seconds since 1970
        self._listing = Listing(router.config, router.names, created)

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/health", methods=["GET"])(self.health)
        app.route("/wol-health", methods=["GET"])(self.health)
        app.route("/v1/models", methods=["GET"])(self.models)
        app.route("/models", methods=["GET"])(self.models)
        app.route("/v1/models/<path:name>", methods=["GET"])(self.model)
        app.route("/models/<path:name>", methods=["GET"])(self.model)
        app.route("/running", methods=["GET"])(self.running)
        app.route("/api/processes/<path:name>", methods=["GET"])(self.process)
        app.route("/unload", methods=["GET", "POST"])(self.unload)
        app.route("/api/models/unload", methods=["POST"])(self.unload_all)
        app.route("/api/models/unload/<path:name>", methods=["POST"])(self.unload_one)

    def health(self, request: Request) -> bytes:
        """Say that the proxy runs, whatever the state of its models."""
        return text_answer(request, "OK")

    def models(self, request: Request) -> bytes:
        """List the models in OpenAI's format."""
        entries = self._current_listing().all(self._router.upstreams.states())
        return answer(request, JSON, f'{{"object": "list", "data": {entries}}}'.encode())

    def model(self, request: Request, name: str) -> bytes:
        """Show one model, by any name that requests may use."""
        return json_answer(request, self._current_listing().one(name, self._router.upstreams.states()))

    def running(self, request: Request) -> bytes:
        """List models that are not stopped, with their state."""
        running = [_process_of(model, state) for model, state in self._router.upstreams.running()]
        return json_answer(request, {"running": running})

    def process(self, request: Request, name: str) -> bytes:
        """Show the same of one model, by its name or alias, whether it runs or not."""
        id_ = self._known(name)
        running = {model.id: _process_of(model, state) for model, state in self._router.upstreams.running()}
        return json_answer(request, running.get(id_) or _process_of(self._router.config.models[id_], "stopped"))

    async def unload(self, request: Request) -> bytes:
        """Stop every model, and answer when they are gone."""
        refuse_head(request, ("GET", "POST"))
        await _whatever_the_client_does(self._router.unload_all())
        return text_answer(request, "OK")

    async def unload_all(self, request: Request) -> bytes:
        """Do the same, with an answer in JSON."""
        await _whatever_the_client_does(self._router.unload_all())
        return json_answer(request, {"msg": "ok"})

    async def unload_one(self, request: Request, name: str) -> bytes:
        """Stop the model of this name or alias, and answer when it is gone."""
        await _whatever_the_client_does(self._router.unload([self._known(name)]))
        return text_answer(request, "OK")

    def _known(self, name: str) -> str:
        model = self._router.names.model_id(name)
        if model is None:
            raise NotFound("model not found")
        return model

    def _current_listing(self) -> Listing:
        config, names = self._router.config, self._router.names
        if not self._listing.is_current(config, names):
            self._listing = Listing(config, names, self._created)
        return self._listing


def _process_of(model: ModelConfig, state: str) -> dict[str, Any]:
    return {
        "model": model.id,
        "state": state,
        "cmd": shlex.join(masked(model.cmd)),
        "proxy": model.proxy,
        "ttl": model.ttl,
        "name": model.name,
        "description": model.description,
    }


async def _whatever_the_client_does(unloading: Deferred[None]) -> None:
    """Wait for the end of `unloading`, which goes on if the client leaves."""
    unloaded: Deferred[None] = Deferred()
    unloading.chainDeferred(unloaded)
    await unloaded
