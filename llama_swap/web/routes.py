"""Klein, with a Content-Length for complete answers, and with paths in which every slash counts."""

from __future__ import annotations

from functools import partial
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http import NO_BODY_CODES, Request
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod
from werkzeug.routing import PathConverter


class AnyPath(PathConverter):
    """What `<path:…>` matches in a route: also a name that begins with a slash, as vLLM's do (`/models/qwen`)."""

    regex = ".+?"
    part_isolating = False


class Routes(Klein):
    """Klein that sets Content-Length, and takes `//` within a path, and the case of a method, literally.

    Without a length, an answer would be chunked, which very simple clients cannot read, and an answer to HEAD would
    lack the length that GET has (RFC 9110 §9.3.2).  And a model's name may lead to a path with two slashes in a row.
    `post` is not `POST` (RFC 9110 §9.1), but to werkzeug.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url_map.merge_slashes = False
        self.url_map.converters["path"] = AnyPath

    def execute_endpoint(self, endpoint: str, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a route, and set Content-Length if it returns the complete answer."""
        method = request.method.decode()
        if method != method.upper():
            raise NoSuchMethod([method.upper()])
        answer = super().execute_endpoint(endpoint, request, *args, **kwargs)
        measured = partial(_measured, request)
        return answer.addCallback(measured) if isinstance(answer, Deferred) else measured(answer)


def _measured(request: Request, answer: object) -> object:
    if isinstance(answer, bytes) and request.code not in NO_BODY_CODES:
        request.setHeader(b"Content-Length", b"%d" % len(answer))
    return answer
