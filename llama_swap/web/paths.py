"""The paths that lead to a model, where a request says which one, and what who missed them may have meant.

They are those of OpenAI's API, Anthropic's, llama.cpp's server, and of a few servers for images, speech and reranking.
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
"""What names its model in the body."""
GET: Final = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")
"""What names its model in the query, as `?model=`."""

_POST: Final = frozenset(path.encode() for path in POST)
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
"""What does the same as paths of https://docs.ollama.com/api ."""


def names_model_in_body(method: bytes, target: bytes) -> bool:
    """Whether a request's target, however it is spelled, leads to one of `POST`."""
    return method == b"POST" and unquote_to_bytes(target.partition(b"?")[0]) in _POST


def target_at_upstream(target: bytes) -> bytes:
    """Return the target with which an upstream is asked for what came with `target`: the same, for most."""
    path, question, query = target.partition(b"?")
    shorter = _SHORTER.get(unquote_to_bytes(path) if b"%" in path else path)
    return target if shorter is None else shorter + question + query


def remedy(path: str, exists: Callable[[str], bool]) -> str:
    """Return what to say to who asked for `path`, which does not exist; nothing if nothing like it does.

    Clients put their own path behind a base URL: that may lack its `/v1`, have it where they add it themselves, or end
    with the slash with which their path begins.
    """
    bare = re.sub("//+", "/", path).rstrip("/")
    if bare in _OLLAMA:
        return f"Ollama's API is not offered here; use {_OLLAMA[bare]}"
    _, version, rest = bare.rpartition("/v1/")
    for guess in (bare, f"/v1{bare}", version + rest):
        if guess and guess != path and exists(guess):
            return f"did you mean {guess}?"
    return ""
