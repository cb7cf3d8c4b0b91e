"""The routes of the records: activity, captures, and the requests under way."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from functools import partial

from klein import Klein
from twisted.web.http import Request

from llama_swap.errors import BadRequest, NotFound
from llama_swap.metrics.activity import Activity
from llama_swap.metrics.captures import as_json
from llama_swap.metrics.query import ActivityQuery
from llama_swap.metrics.records import Records
from llama_swap.metrics.store import pages
from llama_swap.net.worker import Offload
from llama_swap.server.answers import JSON, answer, json_answer, query_of, whole_number


class ActivityRoutes:
    """Shows the records, and ends requests that are under way.  `offload` runs what takes long."""

    def __init__(self, records: Records, offload: Offload) -> None:
        self._records = records
        self._offload = offload

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/api/metrics/activity", methods=["GET"])(self.activity)
        app.route("/api/metrics/stats", methods=["GET"])(self.stats)
        app.route("/api/captures/<number>", methods=["GET"])(self.capture)
        app.route("/api/inflight/<number>/cancel", methods=["POST"])(self.cancel)

    async def activity(self, request: Request) -> bytes:
        """Show one page of the activity."""
        query = ActivityQuery.from_arguments(query_of(request))
        self._records.settle()
        entries, total = await self._records.activity.page(query)
        data = await self._offload(partial(_encoded, entries, self._records.captures.numbers()))
        rest = {"page": query.page, "limit": query.limit, "total": total, "total_pages": pages(total, query.limit)}
        return answer(request, JSON, f'{{"data": {data}, {json.dumps(rest).removeprefix("{")}'.encode())

    async def stats(self, request: Request) -> bytes:
        """Show sums over the activity of one model or of all."""
        self._records.settle()
        [model] = query_of(request).get("model", [""])[-1:]
        return json_answer(request, await self._records.activity.stats(model.strip()))

    def capture(self, request: Request, number: str) -> bytes:
        """Show a whole request, and the answer to it."""
        if (wanted := whole_number(number)) is None:
            raise BadRequest("invalid capture ID: it is the number of an entry of the activity")
        self._records.settle()
        capture = self._records.captures.get(wanted)
        if capture is None:
            raise NotFound("capture not found: none was kept, or newer ones have taken its place (captureBuffer)")
        return json_answer(request, as_json(capture))

    def cancel(self, request: Request, number: str) -> bytes:
        """End a request that is under way."""
        if (wanted := whole_number(number)) is None or not self._records.in_flight.cancel(wanted):
            raise NotFound("inflight request not found: it may have ended by itself")
        return json_answer(request, {"msg": "ok"})


def _encoded(entries: Iterable[Activity], captured: Collection[int]) -> str:
    """Return the entries as JSON, encoded one by one: the reactor gets the interpreter only between two calls."""
    texts = (json.dumps(entry.as_json(has_capture=entry.number in captured)) for entry in entries)
    return f"[{', '.join(texts)}]"
