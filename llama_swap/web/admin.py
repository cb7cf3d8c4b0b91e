"""The routes about the models rather than to them: what there is, what runs, and making it stop."""

from __future__ import annotations

import json
import shlex
from html import escape
from urllib.parse import quote

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http import Request

from llama_swap.config.masking import masked
from llama_swap.config.model import ModelConfig
from llama_swap.routing.router import Router
from llama_swap.web.listing import listed


class AdminRoutes:
    """Lists models, shows which run, and unloads them."""

    def __init__(self, router: Router, created: int) -> None:
        self._router = router
        self._created = created  # what /v1/models gives as the time of every model

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/", methods=["GET"])(self.home)
        app.route("/favicon.ico", methods=["GET"])(self.icon)
        app.route("/health", methods=["GET"])(self.health)
        app.route("/wol-health", methods=["GET"])(self.health)
        app.route("/v1/models", methods=["GET"])(self.models)
        app.route("/running", methods=["GET"])(self.running)
        app.route("/unload", methods=["GET", "POST"])(self.unload)
        app.route("/upstream", methods=["GET"])(self.upstreams)

    def home(self, request: Request) -> bytes:
        """Send browsers to the list of models."""
        request.redirect(b"/upstream")
        return b""

    def icon(self, request: Request) -> bytes:
        """Give browsers something to show in a tab."""
        request.setHeader(b"Content-Type", b"image/svg+xml")
        request.setHeader(b"Cache-Control", b"max-age=86400")
        return _ICON

    def health(self, request: Request) -> bytes:
        """Say that the proxy works, whatever its models do."""
        return _text(request, "OK")

    def models(self, request: Request) -> bytes:
        """List models as OpenAI does: https://platform.openai.com/docs/api-reference/models/list ."""
        entries = listed(self._router.config, self._router.names, self._created)
        return _json(request, {"object": "list", "data": entries})

    def running(self, request: Request) -> bytes:
        """List models that are not stopped, with their state."""
        running = [
            {
                "model": model.id,
                "state": state,
                "cmd": shlex.join(masked(model.cmd)),
                "proxy": model.proxy,
                "ttl": model.ttl,
                "name": model.name,
                "description": model.description,
            }
            for model, state in self._router.running()
        ]
        return _json(request, {"running": running})

    async def unload(self, request: Request) -> bytes:
        """Stop every model, and answer when they are gone."""
        unloaded: Deferred[None] = Deferred()  # which may be cancelled, as the unloading itself must not be
        self._router.unload_all().chainDeferred(unloaded)
        await unloaded
        return _text(request, "OK")

    def upstreams(self, request: Request) -> bytes:
        """Show a page of links to the models' own servers."""
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        links = "".join(
            f'<li><a href="/upstream/{quote(model.id)}/">{escape(model.id)}</a></li>\n' for model in self._listed()
        )
        return _PAGE.format(links=links).encode()

    def _listed(self) -> list[ModelConfig]:
        models = self._router.config.models.values()
        return sorted((model for model in models if not model.unlisted), key=lambda model: model.id)


_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="#7a6ff0" stroke-width="2">'
    b'<path d="M2 5h10l-3-3M14 11H4l3 3"/></svg>\n'
)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>llama-swap: models</title></head>
<body><h1>Available Models</h1>
<ul>
{links}</ul>
<p><a href="/logs">Logs</a></p>
</body></html>
"""


def _json(request: Request, value: object) -> bytes:
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(value).encode()


def _text(request: Request, text: str) -> bytes:
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return text.encode()
