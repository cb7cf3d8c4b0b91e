"""Klein, whose whole answers say how long they are, and in whose paths every slash counts."""

from __future__ import annotations

from functools import partial
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.http import NO_BODY_CODES, Request
from werkzeug.routing import PathConverter


class AnyPath(PathConverter):
    """What `<path:…>` stands for in a route: also a name that begins with a slash, as vLLM's do (`/models/qwen`)."""

    regex = ".+?"
    part_isolating = False


class Routes(Klein):
    """Klein leaves the length of what a route returns unsaid, so that it would come in chunks.

    Very simple clients read none of these; and an answer to HEAD has the length that GET would have (RFC 9110 §9.3.2).
    Nor does it find a path with two slashes in a row, as a model's name may make it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url_map.merge_slashes = False
        self.url_map.converters["path"] = AnyPath

    def execute_endpoint(self, endpoint: str, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a route, and measure what it returns if that is all of the answer."""
        answer = super().execute_endpoint(endpoint, request, *args, **kwargs)
        measured = partial(_measured, request)
        return answer.addCallback(measured) if isinstance(answer, Deferred) else measured(answer)


def _measured(request: Request, answer: object) -> object:
    if isinstance(answer, bytes) and request.code not in NO_BODY_CODES:
        request.setHeader(b"Content-Length", b"%d" % len(answer))
    return answer
