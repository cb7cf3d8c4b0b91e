"""The paths that lead to a model, where each request names it, and hints for mistaken paths; and paths that are polled.

The first are those of OpenAI's and Anthropic's APIs, of llama.cpp's server, and of some servers for images, speech and
reranking.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

_AS_AT_UPSTREAM = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/reranking",
    "/rerank",
    "/reranking",
    "/infill",
    "/completion",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/voices",
    "/v1/images/generations",
    "/v1/images/edits",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
)
_WITHOUT_VERSION = (  # for servers that have no /v1
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/messages/count_tokens",
    "/embeddings",
    "/rerank",
    "/reranking",
)

_SHORTER_AT_UPSTREAM = {
    **{f"/v{path}": path for path in _WITHOUT_VERSION},
    "/audioapi/v1/tasks/run": "/v1/tasks/run",
}

POST: Final = (*_AS_AT_UPSTREAM, *_SHORTER_AT_UPSTREAM)
"""Paths whose requests name the model in the body."""
GET: Final = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")
"""Paths whose requests name the model in the query, as `?model=`."""

POLLED: Final = (
    *(b"/ui/assets/", b"/favicon.ico", b"/api/events", b"/api/performance", b"/logs/sources", b"/logs/streamSSE"),
    *(b"/metrics", b"/wol-health"),
)
"""Beginnings of the paths that pages and monitors ask for again and again."""

_POST: Final = frozenset(path.encode() for path in POST)
_UNCHANGED: Final = frozenset(path.encode() for path in _AS_AT_UPSTREAM)
_SHORTER: Final = {path.encode(): shorter.encode() for path, shorter in _SHORTER_AT_UPSTREAM.items()}

_OLLAMA: Final = {
    "/api/tags": "/v1/models",
    "/api/show": "/v1/models/MODEL",
    "/api/ps": "/running",
    "/api/chat": "/v1/chat/completions",
    "/api/generate": "/v1/completions",
    "/api/embed": "/v1/embeddings",
    "/api/embeddings": "/v1/embeddings",
}
"""The counterparts of paths of Ollama's API (https://docs.ollama.com/api), for hints."""


def names_model_in_body(method: bytes, target: bytes) -> bool:
    """Whether a request's target, in whatever spelling, leads to one of `POST`."""
    return method == b"POST" and _plain(target.partition(b"?")[0]) in _POST


def target_at_upstream(target: bytes) -> bytes:
    """Return the target for the upstream of a request with `target`; for most, it is the same.

    Slashes at its beginning become one: clients add them where their base URL ends with one, routes do not see them,
    and model servers have no such path.
    """
    if target in _UNCHANGED:
        return target
    path, question, query = target.partition(b"?")
    shorter = _SHORTER.get(_plain(path))
    if shorter is not None:
        return shorter + question + query
    return b"/" + target.lstrip(b"/") if target.startswith(b"//") else target


def _plain(path: bytes) -> bytes:
    """Return `path` as routes see it: decoded, with one slash at its beginning."""
    if b"%" in path:
        path = unquote_to_bytes(path)
    return b"/" + path.lstrip(b"/") if path.startswith(b"//") else path


def remedy(path: str, exists: Callable[[str], bool]) -> str:
    """Return a hint for a request for `path`, which does not exist; the empty string if there is none.

    Clients append their own path to a base URL, which may lack its `/v1`, have one where the client adds it as well, or
    end with a slash where the path begins with one.
    """
    bare = re.sub("//+", "/", path).rstrip("/")
    if bare in _OLLAMA:
        return f"Ollama's API is not offered here; use {_OLLAMA[bare]}"
    _, version, rest = bare.rpartition("/v1/")
    for guess in (bare, f"/v1{bare}", version + rest):
        if guess and guess != path and exists(guess):
            return f"did you mean {guess}?"
    return ""
