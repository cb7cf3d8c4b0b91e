"""The root of the site: passes requests to Klein, except on paths that Klein must not decode or would find slowly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.errors import NotFound
from llama_swap.server.answers import harden
from llama_swap.server.errors import refuse
from llama_swap.server.request import SwapRequest
from llama_swap.web.failures import refuse_failure
from llama_swap.web.passthrough import placeholder


class Front(Resource):
    """Klein decodes and normalises paths, and is slow to find a route.

    So it does not get paths that it must not, or cannot, decode; and the POST routes in `direct`, by path, which serve
    the models, are looked up here.
    """

    isLeaf = True

    def __init__(self, app: Klein, direct: Mapping[bytes, Callable[[SwapRequest], IResource]] | None = None) -> None:
        super().__init__()
        self._klein = app.resource()
        self._direct = direct or {}

    def render(self, request: SwapRequest) -> Any:
        """See `IResource.render`."""
        if request.method == b"POST" and (route := self._direct.get(request.path)):
            return _render(route, request)
        request.prepath = []
        request.postpath = [unquote_to_bytes(segment) for segment in request.path[1:].split(b"/")]
        if raw := placeholder(request.uri):
            request.postpath = raw.encode().split(b"/")[1:]
        elif not _is_text(unquote_to_bytes(request.path)):
            refuse(request, NotFound("no page here has a path that is not UTF-8"))
            return NOT_DONE_YET
        request.setHeader(b"Date", datetimeToString())
        harden(request)
        return self._klein.render(request)


def _render(route: Callable[[SwapRequest], IResource], request: SwapRequest) -> Any:
    try:
        return route(request).render(request)
    except Exception:  # noqa: BLE001 -- as with Klein, every error gets an answer
        refuse_failure(request, Failure())
        return NOT_DONE_YET


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
