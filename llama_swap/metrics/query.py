"""Queries for activity: from the query of a URL to the clauses of SQL.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from llama_swap.errors import BadRequest
from llama_swap.metrics.rfc3339 import seconds_of

SORTABLE: Final = {
    "id": "id",
    "time": "ts_created",
    "model": "model_id",
    "req_path": "req_path",
    "resp_status_code": "resp_status_code",
    "resp_content_type": "resp_content_type",
    "cached": "cache_tokens",
    "prompt": "input_tokens",
    "generated": "output_tokens",
    "drafted": "draft_tokens",
    "prompt_speed": "prompt_per_second",
    "gen_speed": "tokens_per_second",
    "duration": "duration_ms",
}
"""The keys to sort by, and their columns."""
Arguments = Mapping[str, Sequence[str]]


@frozen
class ActivityQuery:
    """One page of the entries that match all conditions."""

    conditions: tuple[tuple[str, Any], ...]
    """SQL with one placeholder, and its value."""
    models: tuple[str, ...]
    """Only entries of these models; empty: of all."""
    limit: int
    page: int
    order: str
    """The terms of ORDER BY."""

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> ActivityQuery:
        """Read the arguments of a URL.

        @raise BadRequest: one of them is not valid.
        """
        read: tuple[tuple[str, str, Callable[[str, str], float]], ...] = (
            ("start", "ts_created >= ?", _time),
            ("end", "ts_created <= ?", _time),
            ("min_id", "id >= ?", _number),
            ("max_id", "id <= ?", _number),
        )
        values = {name: kind(name, text) for name, _, kind in read if (text := _last(arguments, name))}
        for least, most in (("start", "end"), ("min_id", "max_id")):
            if least in values and most in values and values[least] > values[most]:
                raise BadRequest(f"{least} must not be after {most}")
        conditions = tuple((sql, values[name]) for name, sql, _ in read if name in values)
        limit = _whole("limit", _last(arguments, "limit") or "25")
        if not 1 <= limit <= 999:
            raise BadRequest("limit must be between 1 and 999")
        page = _number("page", _last(arguments, "page") or "1")
        models = tuple(model for text in arguments.get("model", ()) if (model := text.strip()))
        return cls(conditions, models, limit, page, _order(arguments))

    def where(self) -> tuple[str, list[Any]]:
        """Return a WHERE clause, and the values for its placeholders."""
        clauses = [sql for sql, _ in self.conditions]
        values = [value for _, value in self.conditions]
        if self.models:
            clauses.append(f"model_id IN ({', '.join('?' * len(self.models))})")
            values += self.models
        return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


def _last(arguments: Arguments, name: str) -> str:
    return (arguments.get(name) or [""])[-1].strip()


def _order(arguments: Arguments) -> str:
    key, direction = _last(arguments, "sort") or "id", _last(arguments, "order").lower() or "desc"
    if key not in SORTABLE:
        raise BadRequest(f"invalid sort column; use one of: {', '.join(SORTABLE)}")
    if direction not in {"asc", "desc"}:
        raise BadRequest("order must be asc or desc")
    return f"{SORTABLE[key]} {direction}, id {direction}"


def _time(name: str, text: str) -> float:
    try:
        return seconds_of(text)
    except (ValueError, OverflowError):
        raise BadRequest(f"invalid '{name}' timestamp, use RFC3339 format, such as 2026-11-22T18:00:00Z") from None


def _number(name: str, text: str) -> int:
    number = _whole(name, text)
    if number < 1:
        raise BadRequest(f"{name} must be >= 1")
    return number


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise BadRequest(f"invalid {name}: it must be a whole number")
    return int(text)
