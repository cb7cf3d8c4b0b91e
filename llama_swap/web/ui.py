"""The web interface's routes: one page under many paths, its files, and the redirects to it.

All redirects and links are relative: a web server in front of us may serve us below a path.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from klein import Klein
from twisted.web.http import Request

from llama_swap.errors import NotFound
from llama_swap.routing.router import Router
from llama_swap.web.pages import assets, index, version

_FOR_EVER = b"max-age=31536000, immutable"
_PAGES_OF_MODELS = "models/"
"""This is followed by a model's name, which may contain dots."""


class UiRoutes:
    """Serves the pages; these get their data from other routes."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/", methods=["GET"])(self.home)
        app.route("/favicon.ico", methods=["GET"])(self.icon)
        app.route("/upstream", methods=["GET"])(self.upstreams)
        app.route("/ui", methods=["GET"])(self.page)
        app.route("/ui/", methods=["GET"])(self.page)
        app.route("/ui/<path:name>", methods=["GET"])(self.page)
        app.route("/ui/assets/<wanted>/<name>", methods=["GET"])(self.asset)

    def home(self, request: Request) -> bytes:
        """Redirect browsers to the pages."""
        request.redirect(b"ui")
        return b""

    def upstreams(self, request: Request) -> bytes:
        """Redirect browsers to the page that links to the models' own servers; its body lists the links as well."""
        request.redirect(b"ui/models")
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return f"<!doctype html><title>llama-swap: models</title>\n<ul>\n{self._links()}</ul>\n".encode()

    def icon(self, request: Request) -> bytes:
        """Serve the icon for browser tabs."""
        request.setHeader(b"Content-Type", b"image/svg+xml")
        request.setHeader(b"Cache-Control", b"max-age=86400")
        return _ICON

    def page(self, request: Request, name: str = "") -> bytes:
        """Serve the page, whose scripts know which paths there are; a path that looks like a file is not found."""
        if "." in name and not name.startswith(_PAGES_OF_MODELS):
            raise NotFound(f"the web interface has no file {name!r}")
        return index(request.path, self._links()).answer(request)

    def asset(self, request: Request, wanted: str, name: str) -> bytes:
        """Serve a file of the page; if another version is `wanted`, the current one."""
        asset = assets().get(name)
        if asset is None:
            raise NotFound(f"the web interface has no file {name!r}")
        return asset.answer(request, _FOR_EVER if wanted == version() else b"no-cache")

    def _links(self) -> str:
        """Return links to the models' own servers, for browsers without scripts."""
        listed = sorted(model.id for model in self._router.config.models.values() if not model.unlisted)
        return "".join(f'<li><a href="/upstream/{quote(id_)}/">{escape(id_)}</a></li>\n' for id_ in listed)


_ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="#7a6ff0" stroke-width="2">'
    b'<path d="M2 5h10l-3-3M14 11H4l3 3"/></svg>\n'
)
