"""The routes through which other programs see what goes on."""

from __future__ import annotations

from klein import Klein
from twisted.internet.interfaces import IReactorTime

from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.metrics.log import Offload
from llama_swap.metrics.records import Records
from llama_swap.routing.router import Router
from llama_swap.web.activity import ActivityRoutes
from llama_swap.web.events import EventRoutes
from llama_swap.web.monitoring import MonitoringRoutes


class ApiRoutes:
    """Activity, events and monitoring."""

    def __init__(
        self, router: Router, records: Records, logs: Broadcaster, clock: IReactorTime, offload: Offload
    ) -> None:
        self._events = EventRoutes(router, records, logs, clock)
        self._others = (ActivityRoutes(records), MonitoringRoutes(router, records, offload))

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        self._events.add_to(app)
        for routes in self._others:
            routes.add_to(app)

    def close(self) -> None:
        """End what would never end by itself."""
        self._events.close()
