"""The routes that tell what the models were asked: activity, captures, and the requests under way."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from klein import Klein
from twisted.web.http import Request

from llama_swap.errors import BadRequest, NotFound
from llama_swap.metrics.captures import as_json
from llama_swap.metrics.query import ActivityQuery
from llama_swap.metrics.records import Records
from llama_swap.metrics.store import pages


class ActivityRoutes:
    """Shows the records, and ends requests that are under way."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/api/metrics/activity", methods=["GET"])(self.activity)
        app.route("/api/metrics/stats", methods=["GET"])(self.stats)
        app.route("/api/captures/<number>", methods=["GET"])(self.capture)
        app.route("/api/inflight/<number>/cancel", methods=["POST"])(self.cancel)

    async def activity(self, request: Request) -> bytes:
        """Show a page of the activity."""
        query = ActivityQuery.from_arguments(_arguments(request))
        self._records.settle()
        entries, total = await self._records.activity.page(query)
        captured = self._records.captures.numbers()
        page = {
            "data": [entry.as_json(has_capture=entry.number in captured) for entry in entries],
            "page": query.page,
            "limit": query.limit,
            "total": total,
            "total_pages": pages(total, query.limit),
        }
        return _json(request, page)

    async def stats(self, request: Request) -> bytes:
        """Sum the activity up, of one model or of all."""
        self._records.settle()
        [model] = _arguments(request).get("model", [""])[-1:]
        return _json(request, await self._records.activity.stats(model.strip()))

    def capture(self, request: Request, number: str) -> bytes:
        """Show a whole request, and the answer to it."""
        if not _is_number(number):
            raise BadRequest("invalid capture ID: it is the number of an entry of the activity")
        self._records.settle()
        capture = self._records.captures.get(int(number))
        if capture is None:
            raise NotFound("capture not found: none was kept, or newer ones have taken its place (captureBuffer)")
        return _json(request, as_json(capture))

    def cancel(self, request: Request, number: str) -> bytes:
        """Make an end of a request."""
        if not _is_number(number) or not self._records.in_flight.cancel(int(number)):
            raise NotFound("inflight request not found: it may have ended by itself")
        return _json(request, {"msg": "ok"})


def _arguments(request: Request) -> dict[str, list[str]]:
    return parse_qs(request.uri.partition(b"?")[2].decode("latin-1"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _json(request: Request, value: Any) -> bytes:
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Cache-Control", b"no-store")
    return json.dumps(value).encode()
