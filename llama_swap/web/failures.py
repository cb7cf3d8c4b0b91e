"""What clients are told when a route fails, or when there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod

from llama_swap.errors import DEFECT, MethodNotAllowed, NotFound, SwapError, Unavailable
from llama_swap.net.worker import NoThread
from llama_swap.server.errors import head, refuse
from llama_swap.web.paths import remedy

_log = Logger()


def refuse_failure(request: Request, failure: Failure) -> None:
    """Answer `request` with the error for `failure`."""
    refuse(request, _as_swap_error(request, failure))


def refuse_head(request: Request, allowed: Iterable[str]) -> None:
    """Refuse HEAD for a GET that starts or stops something; werkzeug's routes would treat it like GET.

    HEAD must change nothing (RFC 9110 §9.2.1): checking links must not unload models.  `allowed` are the methods that
    the route takes.
    """
    if request.method == b"HEAD":
        raise NoSuchMethod(allowed)


def add_to(app: Klein) -> None:
    """Have all failures in `app` answered by this module."""

    def exists(path: str) -> bool:
        return bool(app.url_map.bind("").allowed_methods(path))

    def answer(request: Any, failure: Failure) -> bytes:
        return head(request, _as_swap_error(request, failure, exists))

    app.handle_errors(Exception)(answer)


def _as_swap_error(request: Request, failure: Failure, exists: Callable[[str], bool] = lambda path: False) -> SwapError:
    """Return the error for a failure in a route, or for a request without a route; `exists` tells whether a path has
    one."""
    path = request.path.decode("ascii", "backslashreplace")
    match failure.value:
        case SwapError() as error:
            return error
        case NoSuchMethod(valid_methods=methods):
            allowed = ", ".join(sorted(methods or ()))
            request.setHeader(b"Allow", allowed.encode())
            return MethodNotAllowed(f"{path} takes {allowed}")
        case NoThread() as error:
            return Unavailable(str(error))
        case HTTPException():
            meant = remedy(path, exists)
            return NotFound(f"no page {path} here" + (f": {meant}" if meant else ""))
    _log.failure("a defect of llama-swap, at {path}", failure, path=path)
    return SwapError(DEFECT)
