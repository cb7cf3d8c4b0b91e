"""The entry of the activity for an inference that is over."""

from __future__ import annotations

from typing import Any

from attrs import define, frozen

from llama_swap.errors import SwapError
from llama_swap.metrics.rfc3339 import text_of
from llama_swap.metrics.tokens import Tokens


@frozen
class Reason:
    """What is kept of an error; the error itself would keep alive, by its traceback, everything in those frames."""

    status: int
    code: str
    text: str

    @classmethod
    def of(cls, error: SwapError) -> Reason:
        """Return the reason for `error`."""
        return cls(error.status, error.code, str(error))


@define(eq=False)
class Activity:
    """One finished request and its result."""

    number: int
    ended: float
    """Seconds since the epoch."""
    model: str
    path: str
    content_type: str
    """Of the answer; empty if there was none."""
    status: int
    """The status that the client got; 499 if it left, or was cut off, before an answer began."""
    tokens: Tokens
    duration_ms: int
    """From the arrival of the request to the last byte of its answer, waiting and loading included."""
    error: str
    """The message of the error; empty if there was none."""
    metadata: dict[str, str]

    def as_json(self, *, has_capture: bool) -> dict[str, Any]:
        """Return the entry in the form of the API."""
        return {
            "id": self.number,
            "timestamp": text_of(self.ended),
            "model": self.model,
            "req_path": self.path,
            "resp_content_type": self.content_type,
            "resp_status_code": self.status,
            "tokens": {
                "cache_tokens": self.tokens.cached,
                "draft_tokens": self.tokens.drafted,
                "draft_acc_tokens": self.tokens.accepted,
                "input_tokens": self.tokens.input,
                "output_tokens": self.tokens.output,
                "prompt_per_second": self.tokens.input_per_second,
                "tokens_per_second": self.tokens.output_per_second,
            },
            "duration_ms": self.duration_ms,
            "has_capture": has_capture,
            "error_msg": self.error,
            "metadata": self.metadata,
        }
