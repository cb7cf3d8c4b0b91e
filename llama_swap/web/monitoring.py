"""The routes for monitoring: Prometheus metrics, the hardware, the version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from klein import Klein
from twisted.web.http import Request

from llama_swap import __version__
from llama_swap.errors import BadRequest
from llama_swap.metrics.records import Records
from llama_swap.metrics.rfc3339 import seconds_of
from llama_swap.net.worker import Offload
from llama_swap.server.answers import JSON, TEXT, answer, json_answer, query_of


class MonitoringRoutes:
    """Shows how the proxy, its models and the machine are doing.

    With `performance.disabled` there are no metrics at all, as with the original llama-swap.  `states` returns the
    state of every model that is not stopped.  `expose` runs what takes long, and `explore` what may hang.
    """

    def __init__(
        self, states: Callable[[], dict[str, str]], records: Records, *, expose: Offload, explore: Offload
    ) -> None:
        self._states = states
        self._records = records
        self._expose = expose
        self._explore = explore

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/metrics", methods=["GET"])(self.metrics)
        app.route("/api/performance", methods=["GET"])(self.performance)
        app.route("/api/hardware", methods=["GET"])(self.hardware)
        app.route("/api/version", methods=["GET"])(self.version)

    async def metrics(self, request: Request) -> bytes:
        """Show the metrics in Prometheus' text format."""
        history = self._records.hardware.history
        if history is None:
            request.setResponseCode(503)
            return answer(request, TEXT, b"# performance.disabled is set\n")
        from llama_swap.metrics.exposition import CONTENT_TYPE, Now, expose

        self._records.settle()
        waiting: Counter[str] = Counter()
        answering: Counter[str] = Counter()
        for other in self._records.in_flight:
            (waiting if other.granted is None else answering)[other.counted_as] += 1
        now, latest = Now(self._states(), waiting, answering), history.latest
        series = await self._expose(lambda: expose(self._records.tallies, now, latest))
        return answer(request, CONTENT_TYPE, series)

    def performance(self, request: Request) -> bytes:
        """Show how the hardware was used in the last hour."""
        history = self._records.hardware.history
        if history is None:
            request.setResponseCode(503)
            return json_answer(request, {"enabled": False})
        [after] = query_of(request).get("after", [""])[-1:]
        try:
            since = seconds_of(after) if after else 0.0
        except (ValueError, OverflowError):
            raise BadRequest("invalid 'after' timestamp, use RFC3339 format") from None
        return answer(request, JSON, history.as_json(since).encode())

    async def hardware(self, request: Request) -> bytes:
        """Show which hardware the machine has."""
        from llama_swap.metrics.inventory import inventory

        return json_answer(request, await self._explore(inventory))

    def version(self, request: Request) -> bytes:
        """Show the version of llama-swap."""
        return json_answer(request, {"version": __version__, "commit": "", "build_date": ""})
