"""All errors that users see, with the HTTP status and the code that clients get.

The bodies follow OpenAI's error object, so that every client library shows the message:
https://platform.openai.com/docs/guides/error-codes .  `llama_swap.server.errors` is the one place that renders them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from attrs import frozen

DEFECT: Final = "an unexpected error inside llama-swap; its log has the details"
"""The message to users for errors that should never happen."""


class SwapError(Exception):
    """An error that a user may see.  `str()` of it says what happened, where, and what to do."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    retry_after: int | None = None
    """Seconds for the Retry-After header; None: no such header."""


class RequestError(SwapError):
    """The client's mistake: the same request would fail again."""

    status = 400
    type = "invalid_request_error"
    code = "bad_request"


class BadRequest(RequestError):
    """The body, or the model that it names, cannot be read."""


class Unauthorized(SwapError):
    """The request has none of the `apiKeys`."""

    status = 401
    type = "authentication_error"
    code = "unauthorized"


class Forbidden(RequestError):
    """The page behind the request may not do this."""

    status = 403
    code = "forbidden"


class NotFound(RequestError):
    """No such model, profile member or page."""

    status = 404
    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    status = 405
    code = "method_not_allowed"


class Conflict(RequestError):
    """The request would have to load a model, which it may not."""

    status = 409
    code = "conflict"


class BodyTooLarge(RequestError):
    """The body exceeds `maxRequestBody`."""

    status = 413
    code = "body_too_large"


class HeadTooLarge(RequestError):
    """The request line and headers exceed 64 KiB or 200 fields."""

    status = 431
    code = "head_too_large"


class TooManyRequests(SwapError):
    """The model's `concurrencyLimit`, or the limit of all models together, is reached."""

    status = 429
    type = "rate_limit_error"
    code = "concurrency_limit"
    retry_after = 1


class Cancelled(RequestError):
    """The request was cancelled: by its client, which then gets no answer, or by way of the API.

    Its status is that of google.rpc.Code.CANCELLED, and nginx's for clients that leave.
    """

    status = 499
    code = "cancelled"


class UpstreamError(SwapError):
    """A model's server, or a peer, gave no valid answer.  The message begins with its name."""

    status = 502
    code = "bad_gateway"


class NobodyListens(UpstreamError):
    """The upstream refuses connections."""


class StartFailed(UpstreamError):
    """The model's process could not be started, or exited before it was ready."""


class InvalidAnswer(UpstreamError):
    """The upstream's answer is not valid HTTP/1.1, or ambiguous."""

    def __init__(self, why: str) -> None:
        super().__init__(f"its answer is not valid HTTP/1.1: {why}")


class NotReadyInTime(SwapError):
    """The model's process runs, but did not become healthy within `healthCheckTimeout`."""

    status = 504
    code = "gateway_timeout"


class Unavailable(SwapError):
    """Not possible at the moment: the model was unloaded while the request waited, or the proxy is stopping."""

    status = 503
    code = "service_unavailable"


class CannotStore(SwapError):
    """The file of the activity cannot be used."""

    code = "cannot_store"


class CannotListen(SwapError):
    """The address is malformed, in use, or not one of this machine."""

    code = "cannot_listen"


@frozen
class Problem:
    """One error, warning or note about a configuration."""

    line: int | None
    """Line in the file, from 1; None if it concerns the file as a whole."""
    path: str
    """The key path, such as `models.llama.ttl`; empty for the file as a whole."""
    message: str
    file: str | None = None
    """The file, if it is known to be one of several."""

    def render(self, filename: str) -> str:
        """Return `FILE:LINE: PATH: MESSAGE`, without what is not known; `filename` stands for an unknown file."""
        file = self.file or filename
        where = file if self.line is None else f"{file}:{self.line}"
        return ": ".join(part for part in (where, self.path, self.message) if part)


class ConfigError(SwapError):
    """A configuration cannot be used; with every problem found in it, and the warnings."""

    code = "invalid_configuration"

    def __init__(self, filename: str, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.filename = filename
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(problem.render(filename) for problem in self.problems))
