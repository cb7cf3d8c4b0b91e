"""The paths that lead to a model, and where a request says which one.

They are those of OpenAI's API, Anthropic's, llama.cpp's server, and of a few servers for images, speech and reranking.
"""

from __future__ import annotations

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


def names_model_in_body(method: bytes, target: bytes) -> bool:
    """Whether a request's target, however it is spelled, leads to one of `POST`."""
    return method == b"POST" and unquote_to_bytes(target.partition(b"?")[0]) in _POST


def target_at_upstream(target: bytes) -> bytes:
    """Return the target with which an upstream is asked for what came with `target`: the same, for most."""
    path, question, query = target.partition(b"?")
    shorter = _SHORTER.get(unquote_to_bytes(path))
    return target if shorter is None else shorter + question + query
